{{/* Labels of every object. Argument: [root, component] */}}
{{- define "oarmaster.labels" -}}
{{- $root := index . 0 -}}
app.kubernetes.io/name: oarmaster
app.kubernetes.io/component: {{ index . 1 }}
app.kubernetes.io/instance: {{ $root.Release.Name }}
app.kubernetes.io/version: {{ $root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ $root.Release.Service }}
helm.sh/chart: {{ $root.Chart.Name }}-{{ $root.Chart.Version }}
{{- with $root.Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* Metadata of the pods of a component. Argument: [root, component] */}}
{{- define "oarmaster.podMetadata" -}}
{{- $root := index . 0 -}}
{{- $own := index $root.Values (index . 1) -}}
{{- /* What stands further left wins. */ -}}
labels: {{ merge (dict) $own.podLabels $root.Values.podLabels (include "oarmaster.labels" . | fromYaml) | toYaml | nindent 2 }}
{{- with merge (dict) $own.podAnnotations $root.Values.podAnnotations }}
annotations: {{ toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* Labels that select the pods of a component. Argument: [root, component] */}}
{{- define "oarmaster.selector" -}}
{{- $root := index . 0 -}}
app.kubernetes.io/name: oarmaster
app.kubernetes.io/component: {{ index . 1 }}
app.kubernetes.io/instance: {{ $root.Release.Name }}
{{- end }}

{{/* An image. Argument: [root, name] */}}
{{- define "oarmaster.image" -}}
{{- $root := index . 0 -}}
{{- $images := $root.Values.images -}}
{{- /* Without the tag, since not every container engine takes both. */}}
{{- with index $images.digests (index . 1) -}}
{{ $images.registry }}/{{ index $ 1 }}@{{ . }}
{{- else -}}
{{ $images.registry }}/{{ index . 1 }}:{{ $images.tag | default $root.Chart.AppVersion }}
{{- end }}
{{- end }}

{{/* User name of the operator. */}}
{{- define "oarmaster.operator" -}}
system:serviceaccount:{{ .Release.Namespace }}:oarmaster-operator
{{- end }}

{{/* CEL: whether the operator makes an object for a Task, which owns it. */}}
{{- define "oarmaster.made-for-a-task" -}}
(request.userInfo.username == {{ include "oarmaster.operator" . | squote }} && has(object.metadata.ownerReferences) && object.metadata.ownerReferences.exists(owner, owner.apiVersion.startsWith('oarmaster.dev/') && owner.kind == 'Task'))
{{- end }}

{{/* What our own pods have in common. Argument: [root, component] */}}
{{- define "oarmaster.pod" -}}
{{- $root := index . 0 -}}
{{- $component := index . 1 -}}
{{- $own := index $root.Values $component -}}
serviceAccountName: oarmaster-{{ $component }}
automountServiceAccountToken: false
enableServiceLinks: false
securityContext:
  runAsNonRoot: true
  runAsUser: 65532
  runAsGroup: 65532
  fsGroup: 65532
  fsGroupChangePolicy: OnRootMismatch
  seccompProfile: {type: RuntimeDefault}
{{- with $root.Values.images.pullSecrets }}
imagePullSecrets:
{{- range . }}
- name: {{ . }}
{{- end }}
{{- end }}
{{- with $own.priorityClassName | default $root.Values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with $own.nodeSelector | default $root.Values.nodeSelector }}
nodeSelector: {{ toYaml . | nindent 2 }}
{{- end }}
{{- with $own.tolerations | default $root.Values.tolerations }}
tolerations: {{ toYaml . | nindent 0 }}
{{- end }}
{{- with $own.affinity | default $root.Values.affinity }}
affinity: {{ toYaml . | nindent 2 }}
{{- end }}
topologySpreadConstraints:
{{- $selector := dict "matchLabels" (include "oarmaster.selector" . | fromYaml) }}
{{- range $own.topologySpreadConstraints | default $root.Values.topologySpreadConstraints }}
{{- $selected := dict "labelSelector" (.labelSelector | default $selector) }}
- {{ merge $selected (omit . "labelSelector") | toYaml | nindent 2 | trim }}
{{- end }}
{{- end }}

{{/* Security of a container: nothing but what it was built with. */}}
{{- define "oarmaster.confined" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end }}

{{/* Probes on the port `metrics`. */}}
{{- define "oarmaster.probes" -}}
startupProbe:
  httpGet: {path: /healthz, port: metrics}
  periodSeconds: 1
  # A log of many gigabytes is read through.
  failureThreshold: 600
livenessProbe:
  httpGet: {path: /healthz, port: metrics}
  periodSeconds: 10
  timeoutSeconds: 5
readinessProbe:
  httpGet: {path: /readyz, port: metrics}
  periodSeconds: 2
  timeoutSeconds: 2
{{- end }}

{{/* The volume by which a pod reaches the API server. Written out, since the token is not mounted by default. */}}
{{- define "oarmaster.apiAccess" -}}
name: api-access
projected:
  defaultMode: 288 # 0440
  sources:
  - serviceAccountToken: {path: token, expirationSeconds: 3607}
  - configMap:
      name: kube-root-ca.crt
      items: [{key: ca.crt, path: ca.crt}]
  - downwardAPI:
      items: [{path: namespace, fieldRef: {fieldPath: metadata.namespace}}]
{{- end }}

{{/* The binding of a guard: its refusals are final, in every namespace. Argument: [root, name] */}}
{{- define "oarmaster.guard" -}}
{{- $root := index . 0 -}}
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata:
  name: {{ index . 1 }}
  labels: {{ include "oarmaster.labels" (list $root "guard") | nindent 4 }}
spec:
  policyName: {{ index . 1 }}
  validationActions: [Deny]
{{- end }}
