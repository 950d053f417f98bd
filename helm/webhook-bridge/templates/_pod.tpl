{{/* The pod of the Deployment or StatefulSet. Fulfils the restricted Pod Security Standard. */}}
{{- define "webhook-bridge.pod" -}}
metadata:
  labels:
    {{- include "webhook-bridge.labels" . | nindent 4 }}
    {{- with .Values.podLabels }}{{ toYaml . | nindent 4 }}{{ end }}
  {{- with .Values.podAnnotations }}
  annotations: {{- toYaml . | nindent 4 }}
  {{- end }}
spec:
  {{- include "webhook-bridge.podSettings" . | nindent 2 }}
  terminationGracePeriodSeconds: {{ include "webhook-bridge.gracePeriod" . }}
  topologySpreadConstraints:
    {{- if kindIs "invalid" .Values.topologySpreadConstraints }}
    {{- range list "kubernetes.io/hostname" "topology.kubernetes.io/zone" }}
    - topologyKey: {{ . }}
      maxSkew: 1
      whenUnsatisfiable: ScheduleAnyway
      labelSelector:
        matchLabels: {{- include "webhook-bridge.selector" $ | nindent 10 }}
    {{- end }}
    {{- else }}{{ toYaml .Values.topologySpreadConstraints | nindent 4 }}
    {{- end }}
  {{- if .Values.check.enabled }}
  initContainers:
    - name: check
      args: [check]
      {{- include "webhook-bridge.container" . | nindent 6 }}
  {{- end }}
  containers:
    - name: bridge
      args: [serve]
      {{- include "webhook-bridge.container" . | nindent 6 }}
      ports:
        - {name: http, containerPort: 8080}
        - {name: ops, containerPort: 8081}
      {{- /* Answered before the spool is looked at, however full that is. */}}
      startupProbe:
        httpGet: {path: /health/live, port: ops}
        periodSeconds: 1
        failureThreshold: 60
      livenessProbe:
        httpGet: {path: /health/live, port: ops}
        periodSeconds: 10
        timeoutSeconds: 5
      readinessProbe:
        httpGet: {path: /health/ready, port: ops}
        periodSeconds: 5
        timeoutSeconds: 5
        failureThreshold: 2
      lifecycle:
        preStop:
          sleep: {seconds: {{ .Values.shutdown.endpointRemovalSeconds }}}
  volumes:
    {{- include "webhook-bridge.volumes" . | nindent 4 }}
    {{- if not .Values.persistence.enabled }}
    - name: data
      emptyDir: {sizeLimit: 256Mi}
    {{- end }}
{{- end }}

{{/* What the bridge's pod and the test's have in common. */}}
{{- define "webhook-bridge.podSettings" -}}
serviceAccountName: {{ include "webhook-bridge.serviceAccount" . | quote }}
automountServiceAccountToken: false
enableServiceLinks: false
securityContext:
  runAsNonRoot: true
  runAsUser: 10001
  runAsGroup: 10001
  fsGroup: 10001
  fsGroupChangePolicy: OnRootMismatch
  seccompProfile: {type: RuntimeDefault}
{{- with .Values.imagePullSecrets }}
imagePullSecrets: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.priorityClassName }}
priorityClassName: {{ . | quote }}
{{- end }}
{{- with .Values.nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.affinity }}
affinity: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{- define "webhook-bridge.container" -}}
image: {{ include "webhook-bridge.image" . | quote }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
env:
  {{- include "webhook-bridge.env" . | nindent 2 }}
resources: {{- toYaml .Values.resources | nindent 2 }}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: {drop: [ALL]}
volumeMounts:
  - {name: data, mountPath: /data}
  {{- if (include "webhook-bridge.files" . | fromJson).files }}
  - {name: secrets, mountPath: /etc/webhook-bridge, readOnly: true}
  {{- end }}
  {{- with .Values.extraVolumeMounts }}{{ toYaml . | nindent 2 }}{{ end }}
{{- end }}

{{/* One volume for all secrets: the kubelet changes a certificate and its key in one step. */}}
{{- define "webhook-bridge.volumes" -}}
{{- with (include "webhook-bridge.files" . | fromJson).files -}}
- name: secrets
  projected:
    defaultMode: 0440
    sources:
      {{- range . }}
      - secret:
          name: {{ .name | quote }}
          items:
            - {key: {{ .key | quote }}, path: {{ .variable }}}
      {{- end }}
{{- end }}
{{- with .Values.extraVolumes }}
{{ toYaml . }}
{{- end }}
{{- end }}
