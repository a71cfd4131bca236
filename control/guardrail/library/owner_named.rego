# Every document of policy says whom to ask.
#
# parameters:
#   annotations: the keys that must be there; `weir.dev/owner` where none are given
package weir.guardrail.owner_named

keys := object.get(input.parameters, "annotations", ["weir.dev/owner"])

deny contains finding if {
	input.operation != "DELETE"
	some key in keys
	trim_space(object.get(input.object, ["metadata", "annotations", key], "")) == ""
	finding := {
		"msg": sprintf("the annotation %s is missing", [key]),
		"field": "metadata.annotations",
		"next": sprintf("write metadata.annotations: {%s: …}", [key]),
	}
}
