{{/* The five services, in the order in which data first flows. */}}
{{- define "masar.services" -}}
candidates employers matching indicators notifications
{{- end }}

{{- define "masar.fullname" -}}
{{- if contains "masar" .Release.Name }}{{ .Release.Name | trunc 40 | trimSuffix "-" }}{{ else }}{{ printf "%s-masar" .Release.Name | trunc 40 | trimSuffix "-" }}{{ end }}
{{- end }}

{{/* Labels that never change. Of (root, component). */}}
{{- define "masar.selector" -}}
app.kubernetes.io/name: masar
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end }}

{{- define "masar.labels" -}}
{{ include "masar.selector" . }}
app.kubernetes.io/part-of: masar
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version }}
{{- end }}

{{/* The image of a program. Of (root, component). */}}
{{- define "masar.image" -}}
{{- $image := .root.Values.image -}}
{{- $name := printf "%s/masar/%s" $image.registry .component -}}
{{- with get $image.digests .component -}}
{{ $name }}@{{ . }}
{{- else -}}
{{ $name }}:{{ $image.tag | default .root.Chart.AppVersion }}
{{- end }}
{{- end }}

{{/* What every pod has. */}}
{{- define "masar.pod" -}}
automountServiceAccountToken: false
enableServiceLinks: false
securityContext:
  runAsNonRoot: true
  runAsUser: 65532
  runAsGroup: 65532
  fsGroup: 65532
  fsGroupChangePolicy: OnRootMismatch
  seccompProfile: {type: RuntimeDefault}
{{- with .Values.image.pullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
{{- with .Values.nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- end }}

{{- define "masar.container" -}}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: {drop: [ALL]}
{{- end }}

{{/* A service's own values over the defaults. Of (root, component). */}}
{{- define "masar.of" -}}
{{- toYaml (mergeOverwrite (deepCopy .root.Values.defaults) (get .root.Values .component | default dict)) }}
{{- end }}

{{/* The settings of a service. Of (root, component). */}}
{{- define "masar.env" -}}
{{- $v := .root.Values -}}
{{- $of := include "masar.of" . | fromYaml -}}
- {name: MASAR_LISTEN, value: ":8080"}
- {name: MASAR_TELEMETRY_LISTEN, value: ":9090"}
- {name: MASAR_DATA_DIR, value: /var/lib/masar}
- name: MASAR_STORE_URI
  valueFrom: {secretKeyRef: {name: {{ $v.mongodb.existingSecret }}, key: {{ .component }}}}
- name: MASAR_KAFKA_BROKERS
  value: {{ join "," $v.kafka.brokers | quote }}
{{- if $v.kafka.tls.enabled }}
- {name: MASAR_KAFKA_TLS, value: "true"}
{{- if $v.kafka.tls.caSecret }}
- {name: MASAR_KAFKA_CA_FILE, value: {{ printf "/etc/masar/kafka-ca/%s" $v.kafka.tls.caKey }}}
{{- end }}
{{- if $v.kafka.tls.clientSecret }}
- {name: MASAR_KAFKA_CLIENT_CERT_FILE, value: /etc/masar/kafka-client/tls.crt}
- {name: MASAR_KAFKA_CLIENT_KEY_FILE, value: /etc/masar/kafka-client/tls.key}
{{- end }}
{{- end }}
- {name: MASAR_OIDC_ISSUER, value: {{ $v.oidc.issuer | quote }}}
- {name: MASAR_OIDC_AUDIENCE, value: {{ $v.oidc.audience | quote }}}
- {name: MASAR_OIDC_ROLE_CLAIM, value: {{ $v.oidc.roleClaim | quote }}}
{{- with $v.telemetry.otlpEndpoint }}
- {name: MASAR_OTLP_ENDPOINT, value: {{ . | quote }}}
{{- end }}
- {name: MASAR_TRACE_RATIO, value: {{ $v.telemetry.traceRatio | quote }}}
- {name: MASAR_LOG_LEVEL, value: {{ $v.telemetry.logLevel | quote }}}
- {name: MASAR_STOP_TIMEOUT, value: {{ printf "%ds" (int $v.shutdown.stopSeconds) | quote }}}
# preStop has waited already for the endpoints to change.
- {name: MASAR_DRAIN_DELAY, value: "0s"}
{{- if eq .component "candidates" }}
- name: MASAR_MASTER_KEY
  valueFrom: {secretKeyRef: {name: {{ $v.candidates.masterKeySecret }}, key: master-key}}
{{- end }}
{{- if eq .component "indicators" }}
- {name: MASAR_SMALL_CELL, value: {{ $v.indicators.smallCell | quote }}}
- {name: MASAR_VERIFY_EVERY, value: {{ $v.indicators.verifyEvery | quote }}}
{{- if and $v.indicators.programme (not .preparing) }}
- {name: MASAR_PROGRAMME, value: /etc/masar/programme/programme.yaml}
{{- end }}
{{- if $v.indicators.bordersConfigMap }}
- {name: MASAR_GOVERNORATES, value: /etc/masar/borders/governorates.geojson}
{{- end }}
{{- end }}
{{- if eq .component "notifications" }}
- {name: MASAR_CANDIDATES_URL, value: {{ printf "http://%s-candidates:8080" (include "masar.fullname" .root) | quote }}}
{{- with $v.notifications.smtpSecret }}
- name: MASAR_SMTP_URL
  valueFrom: {secretKeyRef: {name: {{ . }}, key: url}}
{{- end }}
{{- if $v.oidc.tokenUrl }}
- {name: MASAR_TOKEN_URL, value: {{ $v.oidc.tokenUrl | quote }}}
- name: MASAR_CLIENT_ID
  valueFrom: {secretKeyRef: {name: {{ $v.oidc.existingSecret }}, key: client-id}}
- {name: MASAR_CLIENT_SECRET_FILE, value: /etc/masar/oidc/client-secret}
{{- else }}
- {name: MASAR_TOKEN_FILE, value: /etc/masar/oidc/token}
{{- end }}
{{- end }}
{{- range $name, $value := $of.env }}
- {name: {{ $name }}, value: {{ $value | quote }}}
{{- end }}
{{- end }}

{{/* What is mounted into a service: (name, path, volume source). Of (root, component, preparing). */}}
{{- define "masar.mounts" -}}
{{- $v := .root.Values -}}
{{- $list := list (dict "name" "data" "path" "/var/lib/masar" "source" (dict "emptyDir" dict)) -}}
{{- $secret := dict -}}
{{- if $v.kafka.tls.enabled -}}
{{- with $v.kafka.tls.caSecret }}{{ $list = append $list (dict "name" "kafka-ca" "path" "/etc/masar/kafka-ca" "source" (dict "secret" (dict "secretName" .))) }}{{ end -}}
{{- with $v.kafka.tls.clientSecret }}{{ $list = append $list (dict "name" "kafka-client" "path" "/etc/masar/kafka-client" "source" (dict "secret" (dict "secretName" .))) }}{{ end -}}
{{- end -}}
{{- with $v.mongodb.caSecret }}{{ $list = append $list (dict "name" "mongodb-ca" "path" "/etc/masar/mongodb" "source" (dict "secret" (dict "secretName" .))) }}{{ end -}}
{{- if eq .component "indicators" -}}
{{- if and $v.indicators.programme (not .preparing) }}{{ $list = append $list (dict "name" "programme" "path" "/etc/masar/programme" "source" (dict "configMap" (dict "name" (printf "%s-programme" (include "masar.fullname" .root))))) }}{{ end -}}
{{- with $v.indicators.bordersConfigMap }}{{ $list = append $list (dict "name" "borders" "path" "/etc/masar/borders" "source" (dict "configMap" (dict "name" .))) }}{{ end -}}
{{- end -}}
{{- if eq .component "notifications" -}}
{{- with $v.oidc.existingSecret }}{{ $list = append $list (dict "name" "oidc" "path" "/etc/masar/oidc" "source" (dict "secret" (dict "secretName" .))) }}{{ end -}}
{{- end -}}
{{- toYaml (dict "mounts" $list) -}}
{{- end }}

{{- define "masar.volumeMounts" -}}
{{- range (include "masar.mounts" . | fromYaml).mounts }}
- {name: {{ .name }}, mountPath: {{ .path }}{{ if ne .name "data" }}, readOnly: true{{ end }}}
{{- end }}
{{- end }}

{{- define "masar.volumes" -}}
{{- range (include "masar.mounts" . | fromYaml).mounts }}
- name: {{ .name }}
  {{- toYaml .source | nindent 2 }}
{{- end }}
{{- end }}

{{- define "masar.grace" -}}
{{- add .Values.shutdown.preStopSeconds .Values.shutdown.stopSeconds .Values.shutdown.reserveSeconds -}}
{{- end }}

{{/* What each service consumes: groups and their topics. */}}
{{- define "masar.consumers" -}}
candidates: {masar.candidates.in: [masar.in.candidates.v1], masar.candidates.matching: [masar.matching.v1]}
employers: {masar.employers.in: [masar.in.offers.v1], masar.employers.matching: [masar.matching.v1]}
matching: {masar.matching: [masar.candidates.v1, masar.employers.v1]}
indicators: {masar.indicators: [masar.candidates.v1, masar.employers.v1, masar.matching.v1, masar.notifications.v1]}
notifications: {masar.notifications: [masar.candidates.v1]}
{{- end }}

{{/* What each service publishes, beside the dead letters of its groups. */}}
{{- define "masar.producers" -}}
candidates: [masar.candidates.v1, masar.in.answers.v1]
employers: [masar.employers.v1, masar.in.answers.v1]
matching: [masar.matching.v1]
indicators: []
notifications: [masar.notifications.v1]
{{- end }}
