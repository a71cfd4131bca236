# A rule that allows must name its ports, and not all of them at once.
#
# parameters:
#   widest: a range may span this many ports; 1024 where none is given
package weir.guardrail.ports_named

widest := object.get(input.parameters, "widest", 1024)

portless := {"icmp", "icmpv6", "igmp", "gre", "esp", "ah", "ospf", "vrrp", "pim"}

# Nothing to name: ICMP and the like have no ports.
without_ports(rule) if {
	count(rule.protocols) > 0
	every protocol in rule.protocols {
		lower(sprintf("%v", [protocol])) in portless
	}
}

deny contains finding if {
	some rule in input.facts.rules
	rule.action == "allow"
	rule.any_port
	not without_ports(rule)
	finding := {
		"msg": "the rule allows every port",
		"field": rule.field,
		"next": "name them: ports: [443]",
	}
}

deny contains finding if {
	some rule in input.facts.rules
	rule.action == "allow"
	some index, port in rule.ports
	is_string(port)
	[from, to] := split(port, "-")
	span := (to_number(to) - to_number(from)) + 1
	span > widest
	finding := {
		"msg": sprintf("%s spans %d ports, more than %d", [port, span, widest]),
		"field": sprintf("%s.ports[%d]", [rule.field, index]),
		"next": "name the ports that are used",
	}
}
