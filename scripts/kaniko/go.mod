module executor

go 1.26

require github.com/osscontainertools/kaniko v1.27.5
