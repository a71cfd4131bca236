{{- /* What values change in an object of the base. Each takes a dict with object and root, and changes the
object in place. */ -}}

{{- define "weir.image" -}}
{{- if .image.digest -}}
{{ .image.repository }}@{{ .image.digest }}
{{- else -}}
{{ .image.repository }}:{{ .image.tag | default .root.Chart.AppVersion }}
{{- end -}}
{{- end -}}

{{- /* Where it stands, and by whom it came. */ -}}
{{- define "weir.metadata" -}}
{{- $root := .root -}}
{{- $metadata := .object.metadata -}}
{{- if eq (default "" $metadata.namespace) "weir-system" -}}
{{- $_ := set $metadata "namespace" $root.Release.Namespace -}}
{{- else if eq (default "" $metadata.namespace) "weir-nodes" -}}
{{- $_ := set $metadata "namespace" $root.Values.nodes.namespace -}}
{{- end -}}
{{- $labels := dict "app.kubernetes.io/part-of" "weir" "app.kubernetes.io/managed-by" $root.Release.Service "app.kubernetes.io/instance" $root.Release.Name "helm.sh/chart" (printf "%s-%s" $root.Chart.Name $root.Chart.Version) -}}
{{- $_ := set $metadata "labels" (merge $labels (default dict $metadata.labels)) -}}
{{- range (default list .object.subjects) -}}
{{- if eq (default "" .namespace) "weir-system" -}}
{{- $_ := set . "namespace" $root.Release.Namespace -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "weir.pods" -}}
{{- $values := .values -}}
{{- $pod := .object.spec.template -}}
{{- $container := first $pod.spec.containers -}}
{{- $_ := set $container "image" (include "weir.image" (dict "image" $values.image "root" .root)) -}}
{{- $_ := set $container "imagePullPolicy" $values.image.pullPolicy -}}
{{- $_ := set $container "resources" (deepCopy $values.resources) -}}
{{- with $values.nodeSelector -}}
{{- $_ := set $pod.spec "nodeSelector" (merge (deepCopy .) (pick (default dict $pod.spec.nodeSelector) "kubernetes.io/os")) -}}
{{- end -}}
{{- with $values.tolerations -}}
{{- $_ := set $pod.spec "tolerations" . -}}
{{- end -}}
{{- with $values.podAnnotations -}}
{{- $_ := set $pod.metadata "annotations" . -}}
{{- end -}}
{{- end -}}

{{- define "weir.controller" -}}
{{- $values := .root.Values.controller -}}
{{- include "weir.pods" (dict "object" .object "root" .root "values" $values) -}}
{{- $spec := .object.spec -}}
{{- $_ := set $spec "replicas" (int $values.replicas) -}}
{{- $container := first $spec.template.spec.containers -}}
{{- $_ := set $container "args" (concat $container.args $values.args) -}}
{{- range $spec.template.spec.volumes -}}
{{- if .secret -}}
{{- $_ := set .secret "secretName" $values.tlsSecret -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "weir.nodes" -}}
{{- $values := .root.Values.nodes -}}
{{- include "weir.pods" (dict "object" .object "root" .root "values" $values) -}}
{{- $pod := .object.spec.template.spec -}}
{{- $container := first $pod.containers -}}
{{- $resources := $container.resources -}}
{{- $limits := default dict $resources.limits -}}
{{- $requests := default dict $resources.requests -}}
{{- if ne $values.hugepages.amount "0" -}}
{{- $name := printf "hugepages-%s" $values.hugepages.size -}}
{{- $_ := set $limits $name $values.hugepages.amount -}}
{{- $_ := set $requests $name $values.hugepages.amount -}}
{{- end -}}
{{- if eq $values.vfio.mode "plugin" -}}
{{- $_ := set $limits $values.vfio.resource (int $values.vfio.count | toString) -}}
{{- $_ := set $requests $values.vfio.resource (int $values.vfio.count | toString) -}}
{{- end -}}
{{- $_ := set $resources "limits" $limits -}}
{{- $_ := set $resources "requests" $requests -}}
{{- range $pod.volumes -}}
{{- if eq .name "tls" -}}{{- $_ := set .hostPath "path" $values.tlsDirectory -}}{{- end -}}
{{- if eq .name "state" -}}{{- $_ := set .hostPath "path" $values.stateDirectory -}}{{- end -}}
{{- end -}}
{{- if eq $values.vfio.mode "privileged" -}}
{{- $_ := set $container "securityContext" (dict "privileged" true "readOnlyRootFilesystem" true) -}}
{{- $_ := set $container "volumeMounts" (append $container.volumeMounts (dict "name" "vfio" "mountPath" "/dev/vfio")) -}}
{{- $_ := set $pod "volumes" (append $pod.volumes (dict "name" "vfio" "hostPath" (dict "path" "/dev/vfio" "type" "Directory"))) -}}
{{- end -}}
{{- end -}}

{{- define "weir.configuration" -}}
{{- $root := .root -}}
{{- $data := .object.data -}}
{{- if hasKey $data "node.toml" -}}
{{- with $root.Values.nodes.configuration -}}
{{- $_ := set $data "node.toml" . -}}
{{- else -}}
{{- $_ := set $data "node.toml" (get $data "node.toml" | replace "weir-controller.weir-system.svc" (printf "weir-controller.%s.svc" $root.Release.Namespace)) -}}
{{- end -}}
{{- else -}}
{{- $_ := set $data "WEIR_TRUST_DOMAIN" $root.Values.network.trustDomain -}}
{{- $_ := set $data "WEIR_EXTERNAL_CLAIMS" $root.Values.network.externalClaims -}}
{{- with $root.Values.network.externalAddresses -}}
{{- $_ := set $data "WEIR_EXTERNAL_ADDRESSES" (join "," .) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- /* Namespaces that Weir keeps out of are named by their default names in the base. */ -}}
{{- define "weir.namespaces" -}}
{{- $root := .root -}}
{{- range (default list .selector.matchExpressions) -}}
{{- $names := list -}}
{{- range .values -}}
{{- if eq . "weir-system" -}}{{- $names = append $names $root.Release.Namespace -}}
{{- else if eq . "weir-nodes" -}}{{- $names = append $names $root.Values.nodes.namespace -}}
{{- else -}}{{- $names = append $names . -}}{{- end -}}
{{- end -}}
{{- $_ := set . "values" $names -}}
{{- end -}}
{{- end -}}

{{- define "weir.webhooks" -}}
{{- $root := .root -}}
{{- range .object.webhooks -}}
{{- $_ := set .clientConfig.service "namespace" $root.Release.Namespace -}}
{{- with .namespaceSelector -}}
{{- include "weir.namespaces" (dict "selector" . "root" $root) -}}
{{- end -}}
{{- if eq .name "policy.weir.dev" -}}
{{- $_ := set . "failurePolicy" $root.Values.webhook.failurePolicy -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "weir.network-policy" -}}
{{- $scrapers := .root.Values.networkPolicy.scrapers -}}
{{- $ingress := list -}}
{{- range (default list .object.spec.ingress) -}}
{{- if not .from -}}{{- $ingress = append $ingress . -}}
{{- else if $scrapers -}}{{- $ingress = append $ingress (dict "from" $scrapers "ports" .ports) -}}
{{- end -}}
{{- end -}}
{{- if .object.spec.ingress -}}
{{- $_ := set .object.spec "ingress" $ingress -}}
{{- end -}}
{{- if .object.spec.egress -}}
{{- $_ := set .object.spec "egress" (concat .object.spec.egress .root.Values.networkPolicy.egress) -}}
{{- end -}}
{{- end -}}

{{- /* A PodMonitor or a ServiceMonitor. */ -}}
{{- define "weir.monitor" -}}
{{- $values := .root.Values.monitoring.monitors -}}
{{- $_ := set .object.metadata "labels" (merge (deepCopy $values.labels) .object.metadata.labels) -}}
{{- range (concat (default list .object.spec.podMetricsEndpoints) (default list .object.spec.endpoints)) -}}
{{- $_ := set . "interval" $values.interval -}}
{{- end -}}
{{- end -}}

{{- define "weir.rules" -}}
{{- $labels := .root.Values.monitoring.rules.labels -}}
{{- $_ := set .object.metadata "labels" (merge (deepCopy $labels) .object.metadata.labels) -}}
{{- end -}}

{{- define "weir.stage" -}}
{{- $_ := set .object.spec "stage" .root.Values.stage -}}
{{- include "weir.namespaces" (dict "selector" .object.spec.target.namespaceSelector "root" .root) -}}
{{- end -}}
