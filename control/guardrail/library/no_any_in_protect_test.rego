package weir.guardrail.no_any_in_protect_test

import data.weir.guardrail.no_any_in_protect as guard

allowlist(stage, kind, action) := {"facts": {
	"mode": stage,
	"rules": [{"direction": "ingress", "action": action, "peers": [{"kind": kind, "field": "spec.ingress[0].from[0]"}]}],
}}

test_any_in_protect_is_denied if {
	count(guard.deny) == 1 with input as allowlist("protect", "any", "allow")
}

test_any_without_a_stage_is_denied if {
	count(guard.deny) == 1 with input as allowlist(null, "any", "allow")
}

test_any_in_a_draft_passes if {
	count(guard.deny) == 0 with input as allowlist("draft", "any", "allow")
}

test_denying_any_passes if {
	count(guard.deny) == 0 with input as allowlist("protect", "any", "deny")
}

test_a_workload_passes if {
	count(guard.deny) == 0 with input as allowlist("protect", "workload", "allow")
}
