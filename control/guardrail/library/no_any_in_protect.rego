# An allowlist that is enforced may not let everybody in, or its target go everywhere.
#
# Drafts and allowlists that only monitor may. Without a stage the mode comes from elsewhere and may be
# protect, so that such an allowlist is held to it too.
package weir.guardrail.no_any_in_protect

lenient if input.facts.mode in ["draft", "monitor"]

deny contains finding if {
	not lenient
	some rule in input.facts.rules
	rule.action == "allow"
	some peer in rule.peers
	peer.kind == "any"
	finding := {
		"msg": sprintf("any opens %s to everybody", [rule.direction]),
		"field": peer.field,
		"next": "name the peers; `weir learn review` proposes those that were seen",
	}
}
