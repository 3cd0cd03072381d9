"""gunicorn's side: load the application once, end init, and only then fork.

    on_starting     the application is loaded (preload_app); no socket is open yet
    when_ready      sockets are open; no worker was forked          <- the end of init
    pre_fork        before each worker, after the first one too: good as well, for calling
                    mark_rodata_ro() again gives the same report and does nothing
    post_fork       in each worker: too late, each would freeze a copy of its own

An exception here ends gunicorn with status 1 before the first request. That is what is wanted: a
service that cannot protect its data does not serve.

HUP replaces the workers. With preload_app the application stays as it was loaded, and the new
workers inherit the pool, as it was protected: when_ready is not called again. For new code, or new
settings, send USR2, which starts a new master with an init of its own, and QUIT to the old one.
"""

import pmalloc

wsgi_app = "post_init_app.app:app"
preload_app = True
workers = 3
control_socket_disable = True


def when_ready(server):
    report = pmalloc.mark_rodata_ro(strict=True)
    server.log.info("%s", report)
