"""The pages."""

import django
from django.shortcuts import render
from django.utils import timezone


def home(request):
    """The first page, until there is a better one."""
    return render(request, "home.html", {"django": django.get_version(), "now": timezone.localtime()})
