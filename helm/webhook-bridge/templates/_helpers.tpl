{{- define "webhook-bridge.name" -}}
{{ default .Chart.Name .Values.nameOverride | trunc 52 | trimSuffix "-" }}
{{- end }}

{{/* A Service's name has no dots, and a StatefulSet's pods have its name and 11 characters more as a label, of at most 63. */}}
{{- define "webhook-bridge.fullname" -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- $full := ternary .Release.Name (printf "%s-%s" .Release.Name $name) (contains $name .Release.Name) -}}
{{ default $full .Values.fullnameOverride | replace "." "-" | trunc 52 | trimSuffix "-" }}
{{- end }}

{{- define "webhook-bridge.selector" -}}
app.kubernetes.io/name: {{ include "webhook-bridge.name" . | quote }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
{{- end }}

{{- define "webhook-bridge.probeSelector" -}}
app.kubernetes.io/name: {{ include "webhook-bridge.name" . }}-probe
app.kubernetes.io/instance: {{ .Release.Name | quote }}
{{- end }}

{{/* What the listener itself speaks. */}}
{{- define "webhook-bridge.scheme" -}}
{{ ternary "https" "http" (hasKey (default dict .Values.secrets) "BRIDGE_TLS_CERT_FILE") }}
{{- end }}

{{- define "webhook-bridge.labels" -}}
{{ include "webhook-bridge.selector" . }}
app.kubernetes.io/version: {{ include "webhook-bridge.version" .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name (include "webhook-bridge.version" .Chart.Version) }}
{{- end }}

{{/* A version as labels and tags may have it: a `+` before the build's own part they may not. */}}
{{- define "webhook-bridge.version" -}}
{{ replace "+" "_" . }}
{{- end }}

{{- define "webhook-bridge.serviceAccount" -}}
{{ default (ternary (include "webhook-bridge.fullname" .) "default" .Values.serviceAccount.create) .Values.serviceAccount.name }}
{{- end }}

{{- define "webhook-bridge.image" -}}
{{- $image := .Values.image -}}
{{- $at := ternary (printf "@%s" $image.digest) (printf ":%s" (default (include "webhook-bridge.version" .Chart.AppVersion) $image.tag)) (ne $image.digest "") -}}
{{ required "image.repository: is not set; push what `make image` builds and name the place" $image.repository }}{{ $at }}
{{- end }}

{{/*
A value as an environment variable's text. Helm reads every number as a float, and would print 1048576 as 1.048576e+06;
the kubelet would take $(NAME) for a reference, and $$ for a $.
*/}}
{{- define "webhook-bridge.text" -}}
{{- if kindIs "float64" . }}{{ int64 . }}{{ else if kindIs "slice" . }}{{ join "," . | replace "$" "$$" }}{{ else }}{{ . | toString | replace "$" "$$" }}{{ end -}}
{{- end }}

{{/* A whole number among the settings: given, or the bridge's default. Takes (dict "from" map "key" name). */}}
{{- define "webhook-bridge.number" -}}
{{- $defaults := include "webhook-bridge.defaults" . | fromJson -}}
{{- $from := default dict .from -}}
{{ index (ternary $from $defaults (hasKey $from .key)) .key | int64 }}
{{- end }}

{{/* All sources, the probe among them, as JSON: {"sources": […]}. */}}
{{- define "webhook-bridge.sources" -}}
{{- $sources := .Values.sources -}}
{{- if not $sources }}{{ fail "sources: is empty; name at least one, such as {name: chatlevel, secrets: {TOKEN: {name: webhook-bridge, key: token}}}" }}{{ end -}}
{{- if .Values.probe.enabled -}}
{{- $sources = append $sources (dict "name" "probe" "provider" .Values.probe.provider "secrets" .Values.probe.secrets "config" .Values.probe.config) -}}
{{- end -}}
{{- $names := list -}}
{{- range $sources -}}
{{- if has .name $names }}{{ fail (printf "sources: %q is there twice; a name belongs to one source" .name) }}{{ end -}}
{{- $names = append $names .name -}}
{{- end -}}
{{- range $sources -}}
{{- $secrets := default dict .secrets -}}
{{- $proved := or (hasKey $secrets "TOKEN") (hasKey $secrets "SECRET") -}}
{{- if eq $proved (eq "none" (default "" (default dict .config).VERIFY)) -}}
{{- $where := ternary "probe:" (printf "sources: %s" .name) (and $.Values.probe.enabled (eq .name "probe")) -}}
{{- $found := ternary "has secrets and config.VERIFY: none" "has neither secrets.TOKEN, secrets.SECRET nor config.VERIFY: none" $proved -}}
{{- fail (printf "%s %s; exactly one of the two is needed, such as secrets: {TOKEN: {name: webhook-bridge, key: %s-token}}" $where $found .name) -}}
{{- end -}}
{{- end -}}
{{ dict "sources" $sources | toJson }}
{{- end }}

{{/* The rules, one a line. The probe's comes first: no rule or template may put made-up events beside real ones. */}}
{{- define "webhook-bridge.routes" -}}
{{- $routes := default list .Values.routes -}}
{{- if .Values.probe.enabled -}}
{{- range $routes -}}
{{- if hasPrefix "probe:" (trim .) }}{{ fail (printf "routes: %q is about the probe, whose events go to events.probe.{type}; take it out" .) }}{{ end -}}
{{- end -}}
{{- $routes = prepend $routes "probe:* -> events.{source}.{type}" -}}
{{- end -}}
{{ join "\n" $routes }}
{{- end }}

{{- define "webhook-bridge.sourcePrefix" -}}
BRIDGE_SOURCE_{{ .name | upper | replace "-" "_" }}_
{{- end }}

{{/* Every secret and certificate as JSON: {"files": [{"variable": …, "env": …, "name": …, "key": …}]}. */}}
{{- define "webhook-bridge.files" -}}
{{- $files := list -}}
{{- $given := dict -}}
{{- range $variable, $ref := .Values.secrets }}{{ $_ := set $given $variable $ref }}{{ end -}}
{{- range (include "webhook-bridge.sources" . | fromJson).sources -}}
{{- $prefix := include "webhook-bridge.sourcePrefix" . -}}
{{- range $variable, $ref := .secrets }}{{ $_ := set $given (print $prefix $variable) $ref }}{{ end -}}
{{- end -}}
{{- range $variable, $ref := $given -}}
{{- $env := ternary $variable (print $variable "_FILE") (hasSuffix "_FILE" $variable) -}}
{{- $files = append $files (dict "variable" $variable "env" $env "name" $ref.name "key" $ref.key) -}}
{{- end -}}
{{ dict "files" $files | toJson }}
{{- end }}

{{- define "webhook-bridge.ownEnv" -}}
{{- $sources := (include "webhook-bridge.sources" . | fromJson).sources -}}
{{- $pairs := list -}}
{{- range $sources }}{{ $pairs = append $pairs (printf "%s=%s" .name (default .name .provider)) }}{{ end -}}
- name: BRIDGE_BROKER
  value: {{ required "broker: is not set; nats://host:4222, tls://host:4222 or kafka://host:9092" .Values.broker | quote }}
- name: BRIDGE_LISTEN
  value: {{ printf "%s:8080" .Values.listenAddress | quote }}
- name: BRIDGE_OPS_LISTEN
  value: {{ printf "%s:8081" .Values.listenAddress | quote }}
- name: BRIDGE_DATA_DIR
  value: /data
{{- if .Values.persistence.enabled }}
- name: BRIDGE_SPOOL
  value: "on"
{{- end }}
- name: BRIDGE_SOURCES
  value: {{ join "," $pairs | quote }}
{{- with include "webhook-bridge.routes" . }}
- name: BRIDGE_ROUTES
  value: {{ include "webhook-bridge.text" . | quote }}
{{- end }}
{{- range $variable, $value := .Values.config }}
- name: {{ $variable }}
  value: {{ include "webhook-bridge.text" $value | quote }}
{{- end }}
{{- range $source := $sources }}
{{- range $variable, $value := $source.config }}
- name: {{ include "webhook-bridge.sourcePrefix" $source }}{{ $variable }}
  value: {{ include "webhook-bridge.text" $value | quote }}
{{- end }}
{{- end }}
{{- range (include "webhook-bridge.files" . | fromJson).files }}
- name: {{ .env }}
  value: /etc/webhook-bridge/{{ .variable }}
{{- end }}
{{- end }}

{{/* Each variable once: of two the last one counts, and Kubernetes, which merges by name, may drop both at an upgrade. */}}
{{- define "webhook-bridge.env" -}}
{{- $own := include "webhook-bridge.ownEnv" . -}}
{{- $names := list -}}
{{- range fromYamlArray $own }}{{ $names = append $names .name }}{{ end -}}
{{ $own }}
{{- with .Values.extraEnv }}
{{- range . }}
{{- if regexMatch "^BRIDGE_(BROKER|DATA_DIR|LISTEN|OPS_LISTEN|ROUTES|SHUTDOWN_TIMEOUT_MS|SOURCES|SOURCE_.*|SPOOL|SPOOL_MAX_BYTES|SPOOL_MIN_FREE_BYTES)$" .name }}
{{- fail (printf "extraEnv: %s is set by the chart; use broker, listenAddress, persistence, sources, routes or config" .name) }}
{{- end }}
{{- if has .name $names }}
{{- fail (printf "extraEnv: %s is set twice; once is enough, here, in config or in secrets" .name) }}
{{- end }}
{{- $names = append $names .name }}
{{- end }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "webhook-bridge.replicas" -}}
{{- $kafka := hasPrefix "kafka://" .Values.broker -}}
{{ ternary (ternary 1 2 $kafka) (int .Values.replicas) (kindIs "invalid" .Values.replicas) }}
{{- end }}

{{/* A quantity of Kubernetes as a number of bytes; a fraction of one is less than anybody asks for. */}}
{{- define "webhook-bridge.bytes" -}}
{{- $number := regexFind "^[0-9]+" . -}}
{{- $unit := trimPrefix $number . -}}
{{- $power := index (dict "" 0 "k" 1 "K" 1 "M" 2 "G" 3 "T" 4 "P" 5 "E" 6) (trimSuffix "i" $unit) | int -}}
{{- $bytes := float64 $number -}}
{{- range until $power }}{{ $bytes = mulf $bytes (ternary 1024 1000 (hasSuffix "i" $unit)) }}{{ end -}}
{{ $bytes }}
{{- end }}

{{/* Each volume's size. It holds the spool, and what is to stay free beside it. */}}
{{- define "webhook-bridge.volumeSize" -}}
{{- $max := include "webhook-bridge.number" (dict "from" .Values.config "key" "BRIDGE_SPOOL_MAX_BYTES") | int64 -}}
{{- $free := include "webhook-bridge.number" (dict "from" .Values.config "key" "BRIDGE_SPOOL_MIN_FREE_BYTES") | int64 -}}
{{- $size := .Values.persistence.size -}}
{{- if lt (include "webhook-bridge.bytes" $size | float64) (addf $max $free) -}}
{{- fail (printf "persistence.size: %s is less than config.BRIDGE_SPOOL_MAX_BYTES %d and BRIDGE_SPOOL_MIN_FREE_BYTES %d together; give it at least %dMi" $size $max $free (divf (add $max $free) 1048576 | ceil | int64)) -}}
{{- end -}}
{{ $size }}
{{- end }}

{{/* What becomes of a pod that is told to end: it serves until proxies know, then lets requests finish. */}}
{{- define "webhook-bridge.gracePeriod" -}}
{{- $shutdown := include "webhook-bridge.number" (dict "from" .Values.config "key" "BRIDGE_SHUTDOWN_TIMEOUT_MS") | int64 -}}
{{- $deadlines := (include "webhook-bridge.defaults" . | fromJson).deadlines_ms -}}
{{- range (include "webhook-bridge.sources" . | fromJson).sources -}}
{{- $usual := dict "DEADLINE_MS" (dig (default .name .provider) $deadlines.other $deadlines) -}}
{{- $deadline := (merge (dict) (default dict .config) $usual).DEADLINE_MS | int64 -}}
{{- if gt $deadline $shutdown -}}
{{ fail (printf "sources: %s has DEADLINE_MS %d, longer than config.BRIDGE_SHUTDOWN_TIMEOUT_MS %d: a rollout would cut its requests off" .name $deadline $shutdown) }}
{{- end -}}
{{- end -}}
{{ add .Values.shutdown.endpointRemovalSeconds (divf $shutdown 1000 | ceil) 10 }}
{{- end }}
