"""Which address shows what."""

from django.contrib import admin
from django.contrib.staticfiles.urls import staticfiles_urlpatterns
from django.urls import path

from . import views

urlpatterns = [
    path("", views.home),
    path("admin/", admin.site.urls),
    *staticfiles_urlpatterns(),
]
