package weir.guardrail.ports_named_test

import data.weir.guardrail.ports_named as guard

allowlist(rule) := {"parameters": {}, "facts": {"rules": [object.union(
	{
		"action": "allow", "field": "spec.ingress[0]", "any_port": false,
		"ports": [], "protocols": [],
	},
	rule,
)]}}

test_every_port_is_denied if {
	count(guard.deny) == 1 with input as allowlist({"any_port": true})
}

test_a_named_port_passes if {
	count(guard.deny) == 0 with input as allowlist({"ports": [443, "8080-8090"]})
}

test_a_wide_range_is_denied if {
	some finding in guard.deny with input as allowlist({"ports": [443, "1-65535"]})
	finding.field == "spec.ingress[0].ports[1]"
}

test_icmp_has_none if {
	count(guard.deny) == 0 with input as allowlist({"any_port": true, "protocols": ["icmp"]})
}

test_a_deny_may_be_wide if {
	count(guard.deny) == 0 with input as allowlist({"any_port": true, "action": "deny"})
}
