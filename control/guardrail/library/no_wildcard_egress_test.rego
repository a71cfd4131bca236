package weir.guardrail.no_wildcard_egress_test

import data.weir.guardrail.no_wildcard_egress as guard

egress(peer) := {"facts": {"rules": [{
	"direction": "egress", "action": "allow",
	"peers": [object.union({"field": "spec.egress[0].to[0]", "external": true, "wildcard": true}, peer)],
}]}}

test_the_world_is_denied if {
	count(guard.deny) == 1 with input as egress({"kind": "cidr", "text": "0.0.0.0/0"})
}

test_any_is_denied if {
	count(guard.deny) == 1 with input as egress({"kind": "any", "text": "any"})
}

test_a_top_level_wildcard_is_denied if {
	count(guard.deny) == 1 with input as egress({"kind": "domain", "text": "*.com"})
}

test_a_domain_of_somebody_passes if {
	count(guard.deny) == 0 with input as egress({"kind": "domain", "text": "*.example.com"})
}

test_a_network_passes if {
	count(guard.deny) == 0 with input as egress({"kind": "cidr", "text": "198.51.100.0/24", "wildcard": false})
}
