package weir.guardrail.no_external_to_stores_test

import data.weir.guardrail.no_external_to_stores as guard

allowlist(labels, peer) := {
	"object": {"metadata": {"labels": {}}},
	"parameters": {},
	"facts": {
		"target": {"text": "shop/db", "labels": {}, "workloads": [{"labels": labels}]},
		"rules": [{"direction": "ingress", "action": "allow", "peers": [peer]}],
	},
}

outside := {"field": "spec.ingress[0].from[0]", "text": "0.0.0.0/0", "external": true}

inside := {"field": "spec.ingress[0].from[0]", "text": "10.0.0.0/8", "external": false}

test_store_from_outside_is_denied if {
	some finding in guard.deny with input as allowlist({"tier": "store"}, outside)
	finding.field == "spec.ingress[0].from[0]"
}

test_store_from_inside_passes if {
	count(guard.deny) == 0 with input as allowlist({"tier": "store"}, inside)
}

test_frontend_from_outside_passes if {
	count(guard.deny) == 0 with input as allowlist({"tier": "frontend"}, outside)
}

test_allowlist_label_counts if {
	labelled := object.union(allowlist({}, outside), {"object": {"metadata": {"labels": {"tier": "database"}}}})
	count(guard.deny) == 1 with input as labelled
}

test_parameters_name_the_label if {
	named := object.union(allowlist({"role": "db"}, outside), {"parameters": {"label": "role", "values": ["db"]}})
	count(guard.deny) == 1 with input as named
}

test_denying_rule_passes if {
	denying := object.union(allowlist({"tier": "store"}, outside), {"facts": {"rules": [{"direction": "ingress", "action": "deny", "peers": [outside]}]}})
	count(guard.deny) == 0 with input as denying
}
