{{/* Labels of every object. Argument: [root, component] */}}
{{- define "oarmaster.labels" -}}
{{- $root := index . 0 -}}
app.kubernetes.io/name: oarmaster
app.kubernetes.io/component: {{ index . 1 }}
app.kubernetes.io/instance: {{ $root.Release.Name }}
app.kubernetes.io/version: {{ $root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ $root.Release.Service }}
helm.sh/chart: {{ $root.Chart.Name }}-{{ $root.Chart.Version }}
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
{{ $root.Values.images.registry }}/{{ index . 1 }}:{{ $root.Values.images.tag | default $root.Chart.AppVersion }}
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
{{- with $root.Values.nodeSelector }}
nodeSelector: {{ toYaml . | nindent 2 }}
{{- end }}
{{- with $root.Values.tolerations }}
tolerations: {{ toYaml . | nindent 0 }}
{{- end }}
topologySpreadConstraints:
{{- range list "kubernetes.io/hostname" "topology.kubernetes.io/zone" }}
- maxSkew: 1
  topologyKey: {{ . }}
  whenUnsatisfiable: ScheduleAnyway
  labelSelector:
    matchLabels: {{ include "oarmaster.selector" (list $root $component) | nindent 6 }}
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
