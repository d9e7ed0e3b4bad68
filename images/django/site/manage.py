#!/opt/venv/bin/python
"""Django's commands for this project: ./manage.py help lists them."""

import os

from django.core.management import execute_from_command_line

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "lab.settings")

if __name__ == "__main__":
    execute_from_command_line()
