package weir.guardrail.owner_named_test

import data.weir.guardrail.owner_named as guard

document(annotations) := {
	"operation": "CREATE", "parameters": {},
	"object": {"metadata": {"name": "db", "annotations": annotations}},
}

test_without_an_owner_is_denied if {
	count(guard.deny) == 1 with input as document({})
}

test_without_annotations_is_denied if {
	count(guard.deny) == 1 with input as {"operation": "CREATE", "parameters": {}, "object": {"metadata": {"name": "db"}}}
}

test_with_an_owner_passes if {
	count(guard.deny) == 0 with input as document({"weir.dev/owner": "payments"})
}

test_removal_passes if {
	count(guard.deny) == 0 with input as object.union(document({}), {"operation": "DELETE", "object": null})
}
