package weir.guardrail.no_metadata_address_test

import data.weir.guardrail.no_metadata_address as guard

rule(action, metadata) := {
	"direction": "egress", "action": action, "metadata_address": metadata,
	"any_application": true, "any_port": true, "conditions": 0,
	"peers": [{"text": "0.0.0.0/0", "field": "spec.egress[0].to[0]", "metadata_address": metadata}],
}

test_reaching_it_is_denied if {
	count(guard.deny) == 1 with input as {"facts": {"rules": [rule("allow", true)]}}
}

test_not_reaching_it_passes if {
	count(guard.deny) == 0 with input as {"facts": {"rules": [rule("allow", false)]}}
}

test_denied_beside_passes if {
	count(guard.deny) == 0 with input as {"facts": {"rules": [rule("allow", true), rule("deny", true)]}}
}

test_denied_for_one_port_is_not_enough if {
	narrow := object.union(rule("deny", true), {"any_port": false})
	count(guard.deny) == 1 with input as {"facts": {"rules": [rule("allow", true), narrow]}}
}
