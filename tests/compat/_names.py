"""What the packages are called."""

# A test file is called after what it imports; these packages are called something else.
DISTRIBUTIONS = {
    "rapidjson": "python-rapidjson",
    "yaml": "PyYAML",
    "sklearn": "scikit-learn",
    "grpc": "grpcio",
    "django": "Django",
    "own_suite": "Django",
    "numpy_suite": "numpy",
    "jinja2": "Jinja2",
    "flask": "Flask",
    "sqlalchemy": "SQLAlchemy",
}
