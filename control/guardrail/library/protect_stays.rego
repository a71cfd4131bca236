# What is in protect may not go back to monitor, discover or draft, nor be removed, unless its
# annotation says why.
#
# parameters:
#   annotation: the annotation's key; `weir.dev/loosen` where none is given
package weir.guardrail.protect_stays

annotation := object.get(input.parameters, "annotation", "weir.dev/loosen")

# A document that is being removed speaks for itself for the last time.
reason := input.object.metadata.annotations[annotation]

reason := input.old.metadata.annotations[annotation] if input.operation == "DELETE"

excused if trim_space(reason) != ""

deny contains finding if {
	input.facts.old_mode == "protect"
	input.facts.loosened
	not excused
	finding := {
		"msg": sprintf("%s %s/%s goes from protect to %s", [
			input.kind, input.namespace, input.name,
			object.get({"null": "none"}, json.marshal(input.facts.mode), input.facts.mode),
		]),
		"field": field[input.kind],
		"next": sprintf("leave it in protect, or say why in the annotation %s", [annotation]),
	}
}

field := {"Mode": "spec.mode", "Allowlist": "spec.stage", "ClusterAllowlist": "spec.stage"}
