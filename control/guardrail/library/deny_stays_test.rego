package weir.guardrail.deny_stays_test

import data.weir.guardrail.deny_stays as guard

denying := {"from": [{"cidr": "198.51.100.0/24"}], "action": "deny"}

allowing := {"from": [{"workload": "web"}], "ports": [443]}

change(rules) := {
	"operation": "UPDATE", "parameters": {},
	"object": {"metadata": {}, "spec": {"ingress": rules}},
	"old": {"metadata": {}, "spec": {"ingress": [denying, allowing]}},
	"facts": {"old_rules": [
		{"field": "spec.ingress[0]", "action": "deny", "peers": [{"text": "198.51.100.0/24"}]},
		{"field": "spec.ingress[1]", "action": "allow", "peers": [{"text": "web"}]},
	]},
}

test_removal_of_the_rule_is_denied if {
	some finding in guard.deny with input as change([allowing])
	contains(finding.msg, "198.51.100.0/24")
}

test_another_order_passes if {
	count(guard.deny) == 0 with input as change([allowing, denying])
}

test_removal_of_an_allow_passes if {
	count(guard.deny) == 0 with input as change([denying])
}

test_a_reason_excuses if {
	excused := object.union(change([allowing]), {"object": {"metadata": {"annotations": {"weir.dev/loosen": "moved to the firewall"}}}})
	count(guard.deny) == 0 with input as excused
}

test_removal_of_the_document_is_denied if {
	count(guard.deny) == 1 with input as object.union(change([]), {"operation": "DELETE", "object": null})
}

test_a_new_document_passes if {
	count(guard.deny) == 0 with input as object.union(change([]), {"operation": "CREATE", "old": null, "facts": {"old_rules": []}})
}
