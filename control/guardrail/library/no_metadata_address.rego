# No workload may be let through to the metadata service of a cloud, which hands out the node's
# credentials.
#
# Peers that cover it (any, unknown, a wide network) are refused too, unless the same allowlist denies
# the address; a deny without applications, ports and conditions wins over every allow.
package weir.guardrail.no_metadata_address

denied if {
	some rule in input.facts.rules
	rule.direction == "egress"
	rule.action == "deny"
	rule.metadata_address
	rule.any_application
	rule.any_port
	rule.conditions == 0
}

deny contains finding if {
	not denied
	some rule in input.facts.rules
	rule.direction == "egress"
	rule.action == "allow"
	some peer in rule.peers
	peer.metadata_address
	finding := {
		"msg": sprintf("%s covers the metadata service's address", [peer.text]),
		"field": peer.field,
		"next": "leave it out with except: [169.254.169.254/32, \"fd00:ec2::254/128\"], or add a rule that denies it",
	}
}
