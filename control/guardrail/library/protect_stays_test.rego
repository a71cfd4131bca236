package weir.guardrail.protect_stays_test

import data.weir.guardrail.protect_stays as guard

change(mode, annotations) := {
	"operation": "UPDATE", "kind": "Mode", "namespace": "shop", "name": "db",
	"object": {"metadata": {"annotations": annotations}},
	"old": {"metadata": {}},
	"parameters": {},
	"facts": {"old_mode": "protect", "mode": mode, "loosened": mode != "protect"},
}

test_back_to_monitor_is_denied if {
	some finding in guard.deny with input as change("monitor", {})
	contains(finding.msg, "from protect to monitor")
}

test_back_with_a_reason_passes if {
	count(guard.deny) == 0 with input as change("discover", {"weir.dev/loosen": "migration until Friday"})
}

test_an_empty_reason_is_none if {
	count(guard.deny) == 1 with input as change("discover", {"weir.dev/loosen": " "})
}

test_staying_passes if {
	count(guard.deny) == 0 with input as change("protect", {})
}

test_removal_is_denied if {
	removal := object.union(change(null, {}), {"operation": "DELETE", "object": null})
	some finding in guard.deny with input as removal
	contains(finding.msg, "from protect to none")
}

test_removal_with_a_reason_passes if {
	removal := object.union(change(null, {}), {
		"operation": "DELETE", "object": null,
		"old": {"metadata": {"annotations": {"weir.dev/loosen": "retired"}}},
	})
	count(guard.deny) == 0 with input as removal
}
