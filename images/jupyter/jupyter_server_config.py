"""Jupyter in a sandbox. Settings of the learner's own in ~/.jupyter/ win over these."""

from pathlib import Path

c = get_config()  # noqa: F821

c.ServerApp.ip = "0.0.0.0"
c.ServerApp.port = 8888
# Another port than the one that is carried would be no use.
c.ServerApp.port_retries = 0
c.ServerApp.open_browser = False
c.ServerApp.root_dir = "/home/student"
# The server is ended with the sandbox, by its supervisor.
c.ServerApp.quit_button = False
c.ServerApp.terminado_settings = {"shell_command": ["/bin/bash", "-l"]}
c.ServerApp.log_level = "WARN"

# Where Spindle did not make one, Jupyter makes one up that nobody knows.
c.IdentityProvider.token = Path("/run/spindle/token").read_text().strip()

# Nothing is fetched from elsewhere by itself.
c.LabApp.news_url = None
c.LabApp.check_for_updates_class = "jupyterlab.NeverCheckForUpdate"
c.LabApp.extension_manager = "readonly"
