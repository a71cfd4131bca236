# A rule that allows should name the applications, since a port alone says nothing of what is spoken.
package weir.guardrail.applications_named

warn contains finding if {
	some rule in input.facts.rules
	rule.action == "allow"
	rule.any_application
	finding := {
		"msg": "the rule allows every application",
		"field": rule.field,
		"next": "name them: applications: [mysql]; `weir apps` lists them",
	}
}
