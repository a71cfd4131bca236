# A rule that denies may not be taken away, unless the annotation says why.
#
# parameters:
#   annotation: the annotation's key; `weir.dev/loosen` where none is given
package weir.guardrail.deny_stays

annotation := object.get(input.parameters, "annotation", "weir.dev/loosen")

reason := input.object.metadata.annotations[annotation]

reason := input.old.metadata.annotations[annotation] if input.operation == "DELETE"

excused if trim_space(reason) != ""

# Where a rule stands among the others does not matter.
kept contains rule if {
	some direction in ["ingress", "egress"]
	some rule in input.object.spec[direction]
}

deny contains finding if {
	input.old != null
	not excused
	some old in input.facts.old_rules
	old.action == "deny"
	rule := written[old.field]
	not rule in kept
	finding := {
		"msg": sprintf("the rule that denies %s (%s before) is gone or changed", [concat(", ", [peer.text | some peer in old.peers]), old.field]),
		"next": sprintf("bring it back, or say why in the annotation %s", [annotation]),
	}
}

written[field] := rule if {
	some direction in ["ingress", "egress"]
	some index, rule in input.old.spec[direction]
	field := sprintf("spec.%s[%d]", [direction, index])
}
