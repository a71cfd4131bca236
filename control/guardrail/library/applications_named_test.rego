package weir.guardrail.applications_named_test

import data.weir.guardrail.applications_named as guard

allowlist(any) := {"facts": {"rules": [{"action": "allow", "field": "spec.egress[1]", "any_application": any}]}}

test_any_application_is_told if {
	some finding in guard.warn with input as allowlist(true)
	finding.field == "spec.egress[1]"
}

test_a_named_one_passes if {
	count(guard.warn) == 0 with input as allowlist(false)
}
