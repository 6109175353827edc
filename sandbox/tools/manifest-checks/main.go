// Command manifest-checks judges pods by the very code that the API server's Pod Security admission runs.
//
// It reads a Kubernetes List as JSON from its standard input, finds every pod and every pod template in it, and
// writes what the level forbids, as a JSON array. It exits with 0 whatever it finds; the caller decides.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"slices"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/pod-security-admission/api"
	"k8s.io/pod-security-admission/policy"
)

type violation struct {
	Object string `json:"object"`
	// Check is the identifier in the Pod Security Standards' own list.
	Check  string `json:"check"`
	Reason string `json:"reason"`
	Detail string `json:"detail"`
}

type report struct {
	// Pods tells how many pods were judged, so that a caller sees when none was.
	Pods       int         `json:"pods"`
	Checks     int         `json:"checks"`
	Violations []violation `json:"violations"`
}

func main() {
	level := flag.String("level", "restricted", "privileged, baseline or restricted")
	version := flag.String("version", "latest", "of the standard, for example v1.35")
	flag.Parse()
	result, err := judge(*level, *version)
	if err == nil {
		err = json.NewEncoder(os.Stdout).Encode(result)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func judge(levelName, versionName string) (*report, error) {
	level, err := api.ParseLevel(levelName)
	if err != nil {
		return nil, err
	}
	version, err := api.ParseVersion(versionName)
	if err != nil {
		return nil, err
	}
	checks := policy.DefaultChecks()
	names := make([]policy.CheckID, 0, len(checks))
	var list struct {
		Items []json.RawMessage `json:"items"`
	}
	if err := json.NewDecoder(os.Stdin).Decode(&list); err != nil {
		return nil, fmt.Errorf("no Kubernetes List on the standard input: %w", err)
	}
	// One evaluator a check, for the evaluator of all of them names no check in its answer.
	evaluators := map[policy.CheckID]policy.Evaluator{}
	for _, check := range checks {
		if level == api.LevelBaseline && check.Level == api.LevelRestricted {
			continue
		}
		evaluator, err := policy.NewEvaluator([]policy.Check{check}, nil)
		if err != nil {
			return nil, err
		}
		evaluators[check.ID] = evaluator
		names = append(names, check.ID)
	}
	slices.Sort(names)
	result := &report{Checks: len(names), Violations: []violation{}}
	for _, item := range list.Items {
		object, metadata, spec, err := podOf(item)
		if err != nil {
			return nil, err
		}
		if spec == nil {
			continue
		}
		result.Pods++
		for _, name := range names {
			answers := evaluators[name].EvaluatePod(api.LevelVersion{Level: level, Version: version}, metadata, spec)
			for _, answer := range answers {
				if !answer.Allowed {
					result.Violations = append(result.Violations,
						violation{object, string(name), answer.ForbiddenReason, answer.ForbiddenDetail})
				}
			}
		}
	}
	return result, nil
}

// podOf returns the pod in a manifest, or no spec when there is none in it.
func podOf(manifest json.RawMessage) (string, *metav1.ObjectMeta, *corev1.PodSpec, error) {
	var object struct {
		metav1.TypeMeta   `json:",inline"`
		metav1.ObjectMeta `json:"metadata"`
	}
	if err := json.Unmarshal(manifest, &object); err != nil {
		return "", nil, nil, err
	}
	name := object.Kind + "/" + object.Name
	template := func(into any, template *corev1.PodTemplateSpec) (string, *metav1.ObjectMeta, *corev1.PodSpec, error) {
		if err := json.Unmarshal(manifest, into); err != nil {
			return "", nil, nil, fmt.Errorf("%s: %w", name, err)
		}
		return name, &template.ObjectMeta, &template.Spec, nil
	}
	switch object.Kind {
	case "Pod":
		var pod corev1.Pod
		err := json.Unmarshal(manifest, &pod)
		return name, &pod.ObjectMeta, &pod.Spec, err
	case "Deployment":
		var workload appsv1.Deployment
		return template(&workload, &workload.Spec.Template)
	case "StatefulSet":
		var workload appsv1.StatefulSet
		return template(&workload, &workload.Spec.Template)
	case "DaemonSet":
		var workload appsv1.DaemonSet
		return template(&workload, &workload.Spec.Template)
	case "ReplicaSet":
		var workload appsv1.ReplicaSet
		return template(&workload, &workload.Spec.Template)
	case "Job":
		var workload batchv1.Job
		return template(&workload, &workload.Spec.Template)
	case "CronJob":
		var workload batchv1.CronJob
		return template(&workload, &workload.Spec.JobTemplate.Spec.Template)
	}
	return name, nil, nil, nil
}
