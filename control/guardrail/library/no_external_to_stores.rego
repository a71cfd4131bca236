# No allowlist may let addresses outside the cluster's own networks reach a store.
#
# Stores are told by a label of the workload, of the target's selector or of the allowlist itself.
#
# parameters:
#   label: the label's key; `tier` where none is given
#   values: its values that make a store; `store`, `database` and `cache` where none are given
package weir.guardrail.no_external_to_stores

label := object.get(input.parameters, "label", "tier")

values := object.get(input.parameters, "values", ["store", "database", "cache"])

is_store if input.object.metadata.labels[label] in values

is_store if input.facts.target.labels[label] in values

is_store if {
	some workload in input.facts.target.workloads
	workload.labels[label] in values
}

deny contains finding if {
	is_store
	some rule in input.facts.rules
	rule.direction == "ingress"
	rule.action == "allow"
	some peer in rule.peers
	peer.external
	finding := {
		"msg": sprintf("%s can be an address outside, and %s is a store (%s)", [peer.text, input.facts.target.text, label]),
		"field": peer.field,
		"next": "name the workloads, or the private networks, that have to reach it",
	}
}
