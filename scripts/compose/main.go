// Command compose prints what `docker compose build` would build: projects are loaded by Compose's own library, with the
// options that its command line sets.
//
// It reads a JSON list of projects from standard input, and prints a JSON list with an answer for each.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/compose-spec/compose-go/v2/cli"
	"github.com/compose-spec/compose-go/v2/dotenv"
	"github.com/compose-spec/compose-go/v2/types"
	"github.com/compose-spec/compose-go/v2/utils"
	"github.com/containerd/platforms"
	"github.com/distribution/reference"
	"github.com/sirupsen/logrus"
)

// A question is one call of `docker compose build`.
type question struct {
	Folder   string            `json:"folder"` // the working directory: absolute, links resolved
	Root     string            `json:"root"`   // paths in the answer are relative to it
	Files    []string          `json:"files"`
	EnvFiles []string          `json:"env_files"`
	Profiles []string          `json:"profiles"`
	Services []string          `json:"services"`
	Env      map[string]string `json:"env"`
}

// An answer has an error, or what is built.
type answer struct {
	Error    string           `json:"error,omitempty"`
	Services map[string]built `json:"services"`
}

// A built service.
type built struct {
	Image      string            `json:"image"` // with registry and tag
	Named      bool              `json:"named"` // whether the file has the image's name
	Context    string            `json:"context"`
	Dockerfile string            `json:"dockerfile"` // relative to the root
	Args       map[string]string `json:"args"`
	Labels     map[string]string `json:"labels"`
	Platforms  []string          `json:"platforms"` // as BuildKit reads them
	Target     string            `json:"target"`
	NoCache    bool              `json:"no_cache"`
	// The whole section, as the library has it.
	Build map[string]any `json:"build"`
	// What its `x-bake` holds.
	Bake any `json:"x_bake"`
}

func main() {
	logrus.SetOutput(io.Discard)
	var questions []question
	if err := json.NewDecoder(os.Stdin).Decode(&questions); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	answers := make([]answer, 0, len(questions))
	for _, question := range questions {
		services, err := question.build()
		if err != nil {
			answers = append(answers, answer{Error: err.Error()})
		} else {
			answers = append(answers, answer{Services: services})
		}
	}
	if err := json.NewEncoder(os.Stdout).Encode(answers); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func (q question) build() (map[string]built, error) {
	project, err := q.load()
	if err != nil {
		return nil, err
	}
	if err := applyPlatforms(project); err != nil {
		return nil, err
	}
	services := map[string]built{}
	for name, service := range project.Services {
		asked := len(q.Services) == 0 || slices.Contains(q.Services, name)
		if service.Build == nil || !asked {
			continue
		}
		services[name], err = q.built(project, service)
		if err != nil {
			return nil, fmt.Errorf("service %q: %w", name, err)
		}
	}
	return services, nil
}

// load does what Compose's command line does before it builds.
func (q question) load() (*types.Project, error) {
	os.Clearenv()
	for name, value := range q.Env {
		if err := os.Setenv(name, value); err != nil {
			return nil, err
		}
	}
	if err := os.Chdir(q.Folder); err != nil {
		return nil, err
	}
	envFiles := q.EnvFiles
	if len(envFiles) == 0 {
		envFiles = strings.FieldsFunc(os.Getenv("COMPOSE_ENV_FILES"), func(c rune) bool { return c == ',' })
	}
	// The variables of .env that are Compose's own count as the environment's.
	early, err := cli.NewProjectOptions(q.Files, cli.WithOsEnv, cli.WithEnvFiles(envFiles...), cli.WithDotEnv)
	if err != nil {
		return nil, err
	}
	own, err := dotenv.GetEnvFromFile(utils.GetAsEqualsMap(os.Environ()), early.EnvFiles)
	if err != nil {
		return nil, err
	}
	for name, value := range own {
		if _, set := os.LookupEnv(name); !set && strings.HasPrefix(name, "COMPOSE_") {
			if err := os.Setenv(name, value); err != nil {
				return nil, err
			}
		}
	}
	options, err := cli.NewProjectOptions(q.Files,
		cli.WithOsEnv,
		cli.WithEnvFiles(envFiles...), cli.WithDotEnv,
		cli.WithConfigFileEnv, cli.WithDefaultConfigPath,
		// Once more: the folder of the files may be another one.
		cli.WithEnvFiles(envFiles...), cli.WithDotEnv,
		cli.WithDefaultProfiles(q.Profiles...),
		cli.WithoutEnvironmentResolution,
	)
	if err != nil {
		return nil, err
	}
	project, err := options.LoadProject(context.Background())
	if err != nil {
		return nil, err
	}
	if project.Name == "" {
		return nil, errors.New("project name can't be empty")
	}
	if project, err = project.WithServicesEnabled(q.Services...); err != nil {
		return nil, err
	}
	return project.WithSelectedServices(q.Services)
}

// applyPlatforms is a rule of docker/compose (pkg/compose/build.go), which its library does not have.
func applyPlatforms(project *types.Project) error {
	usual := project.Environment["DOCKER_DEFAULT_PLATFORM"]
	for name, service := range project.Services {
		if service.Build == nil {
			continue
		}
		listed := service.Build.Platforms
		if usual != "" && service.Platform == "" {
			if len(listed) > 0 && !slices.Contains(listed, usual) {
				return fmt.Errorf("service %q build.platforms does not support value set by DOCKER_DEFAULT_PLATFORM: %s", name, usual)
			}
			service.Platform = usual
		}
		if service.Platform != "" {
			if len(listed) > 0 && !slices.Contains(listed, service.Platform) {
				return fmt.Errorf("service %q build configuration does not support platform: %s", name, service.Platform)
			}
			if len(listed) == 0 {
				service.Build.Platforms = []string{service.Platform}
			}
		}
	}
	return nil
}

func (q question) built(project *types.Project, service types.ServiceConfig) (built, error) {
	image := service.Image
	if image == "" {
		image = project.Name + "-" + service.Name
	}
	named, err := reference.ParseNormalizedNamed(image)
	if err != nil {
		return built{}, fmt.Errorf("%s: %w", image, err)
	}
	build := service.Build
	// buildx takes the working directory for a context that is empty, and Dockerfile for such a file.
	if build.Context == "" {
		build.Context = q.Folder
	}
	if build.Dockerfile == "" && build.DockerfileInline == "" {
		build.Dockerfile = "Dockerfile"
	}
	result := built{
		Image:      reference.TagNameOnly(named).String(),
		Named:      service.Image != "",
		Context:    q.inside(build.Context),
		Dockerfile: build.Dockerfile,
		Args:       map[string]string{},
		Labels:     build.Labels,
		Target:     build.Target,
		NoCache:    build.NoCache,
		Bake:       build.Extensions["x-bake"],
	}
	if build.DockerfileInline == "" {
		file := build.Dockerfile
		if !filepath.IsAbs(file) {
			file = filepath.Join(build.Context, file)
		}
		result.Dockerfile = q.inside(file)
	}
	args := types.MappingWithEquals{}.OverrideBy(build.Args).Resolve(func(name string) (string, bool) {
		value, set := project.Environment[name]
		return value, set
	})
	for name, value := range args {
		if value != nil {
			result.Args[name] = *value
		}
	}
	for _, text := range build.Platforms {
		platform, err := platforms.Parse(text)
		if err != nil {
			return built{}, err
		}
		// Twice is once.
		if shown := platforms.FormatAll(platforms.Normalize(platform)); !slices.Contains(result.Platforms, shown) {
			result.Platforms = append(result.Platforms, shown)
		}
	}
	// The library cannot write an SSH key with a path as JSON.
	keys := build.SSH
	build.SSH = nil
	text, err := json.Marshal(build)
	if err != nil {
		return built{}, err
	}
	if err := json.Unmarshal(text, &result.Build); err != nil {
		return built{}, err
	}
	if len(keys) > 0 {
		result.Build["ssh"] = len(keys)
	}
	return result, nil
}

// inside makes a path relative to the root.
func (q question) inside(path string) string {
	if relative, err := filepath.Rel(q.Root, path); err == nil {
		return relative
	}
	return path
}
