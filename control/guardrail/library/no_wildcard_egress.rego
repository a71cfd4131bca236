# Nobody may be let out to the whole internet: not by a network of every address, not by `any` or
# `unknown`, not by a domain with a wildcard right below a public suffix.
package weir.guardrail.no_wildcard_egress

# `*.example.com` is a name somebody owns; `*` and `*.com` are not.
too_wide(peer) if {
	peer.kind == "domain"
	peer.wildcard
	count([part | some part in split(peer.text, "."); not contains(part, "*")]) < 2
}

too_wide(peer) if peer.kind in ["any", "unknown"]

too_wide(peer) if {
	peer.kind == "cidr"
	peer.external
	peer.wildcard
}

deny contains finding if {
	some rule in input.facts.rules
	rule.direction == "egress"
	rule.action == "allow"
	some peer in rule.peers
	too_wide(peer)
	finding := {
		"msg": sprintf("%s lets the target reach the whole internet", [peer.text]),
		"field": peer.field,
		"next": "name the domains or networks that it needs",
	}
}
