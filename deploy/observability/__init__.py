"""Dashboard, alerts and an example of Prometheus' configuration; and the dashboard drawn without Grafana."""
