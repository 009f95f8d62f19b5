{{- define "quayctl.name" -}}
{{- $base := .Release.Name -}}
{{- if not (contains "quayctl" $base) }}{{ $base = printf "%s-quayctl" $base }}{{ end -}}
{{- $base | trunc 48 | trimSuffix "-" -}}
{{- end -}}

{{/* quayctl.labels (dict "root" $ "component" "mirror") */}}
{{- define "quayctl.labels" -}}
{{ include "quayctl.selector" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" }}
{{- end -}}

{{- define "quayctl.selector" -}}
app.kubernetes.io/name: quayctl
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end -}}

{{- define "quayctl.image" -}}
{{- with .Values.image -}}
{{- if .digest }}{{ .repository }}@{{ .digest }}{{ else }}{{ .repository }}:{{ .tag | default $.Chart.AppVersion }}{{ end -}}
{{- end -}}
{{- end -}}

{{- define "quayctl.serving" -}}
{{- if and .Values.serve.enabled .Values.serve.upstream }}yes{{ end -}}
{{- end -}}

{{- define "quayctl.serviceHost" -}}
{{ include "quayctl.name" . }}-serve.{{ .Release.Namespace }}.svc
{{- end -}}

{{- define "quayctl.publicUrl" -}}
{{- .Values.serve.publicUrl | default (printf "https://%s:%v" (include "quayctl.serviceHost" .) .Values.serve.service.port) -}}
{{- end -}}

{{- define "quayctl.tlsSecret" -}}
{{- .Values.serve.tlsSecret | default (printf "%s-serve-tls" (include "quayctl.name" .)) -}}
{{- end -}}

{{- define "quayctl.adminSecret" -}}
{{- .Values.admin.tokenSecret | default (printf "%s-admin" (include "quayctl.name" .)) -}}
{{- end -}}

{{/* What a process of ours needs of a kernel: nothing but files and sockets. */}}
{{- define "quayctl.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: { drop: [ALL] }
seccompProfile: { type: RuntimeDefault }
{{- end -}}
