module geocrop/sandbox/tools/victoria-logs

go 1.26.4

require github.com/VictoriaMetrics/VictoriaLogs v1.51.1-0.20260624061259-dc94972a8708 // indirect
