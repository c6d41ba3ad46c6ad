"""What people read: report.json, validation.json, report.html, plots. Comes in: measured figures. Goes out: files."""
