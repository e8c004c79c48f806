{{/* Begin of the names of all objects: the release's name, with the chart's unless that is part of it. */}}
{{- define "tidegate.fullname" -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride -}}
{{- else if contains $name .Release.Name -}}
{{- .Release.Name | trunc 50 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 50 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{/* Name of the Deployment, and of what belongs to its pods. */}}
{{- define "tidegate.operatorName" -}}
{{- include "tidegate.fullname" . }}-operator
{{- end -}}

{{/* Labels of every object. */}}
{{- define "tidegate.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
app.kubernetes.io/part-of: tidegate
{{ include "tidegate.selector" . }}
{{- end -}}

{{/* What the operator's pods are selected by. A Deployment's selector can't be changed: leave it as it is. */}}
{{- define "tidegate.selector" -}}
app.kubernetes.io/name: {{ default .Chart.Name .Values.nameOverride }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: operator
{{- end -}}

{{- define "tidegate.serviceAccountName" -}}
{{- $own := ternary (include "tidegate.operatorName" .) "default" .Values.serviceAccount.create -}}
{{- default $own .Values.serviceAccount.name -}}
{{- end -}}

{{- define "tidegate.leaseName" -}}
{{- default (include "tidegate.operatorName" .) .Values.leaderElection.leaseName -}}
{{- end -}}

{{/* Reference of an image: `dict "image" <its values> "context" $`. */}}
{{- define "tidegate.image" -}}
{{- $tag := default .context.Chart.AppVersion .image.tag -}}
{{- if .image.digest -}}
{{ .image.repository }}@{{ .image.digest }}
{{- else -}}
{{ .image.repository }}:{{ $tag }}
{{- end -}}
{{- end -}}

{{/*
Rights in the namespaces of jobs: exactly the calls that the operator makes. It writes the objects of a job and deletes
what a job no longer needs; it reads pods, for what the status says about them; it neither reads nor writes Secrets,
which pods mount by reference.
*/}}
{{- define "tidegate.jobRules" -}}
- apiGroups: [tidegate.dev]
  resources: [streamjobs]
  verbs: [get, list, watch, patch]
- apiGroups: [tidegate.dev]
  resources: [streamjobs/status]
  verbs: [patch]
# Asked for where the admission plugin OwnerReferencesPermissionEnforcement is on, to own objects of a job.
- apiGroups: [tidegate.dev]
  resources: [streamjobs/finalizers]
  verbs: [update]
- apiGroups: [apps]
  resources: [deployments]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [""]
  resources: [services, configmaps, serviceaccounts]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [policy]
  resources: [poddisruptionbudgets]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [networking.k8s.io]
  resources: [networkpolicies]
  verbs: [get, list, watch, create, patch, delete]
# Certificates of a job's own processes; no Secret is ever read.
- apiGroups: [""]
  resources: [secrets]
  verbs: [create]
- apiGroups: [""]
  resources: [pods]
  verbs: [get, list, watch]
- apiGroups: [events.k8s.io]
  resources: [events]
  verbs: [create, patch]
{{- end -}}
