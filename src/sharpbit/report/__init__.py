"""Results as drawings and pages: SVG, Markdown, HTML."""
