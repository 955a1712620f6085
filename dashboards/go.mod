module masar.local/dashboards

go 1.26.0
