# Varnish before Corelane, as /etc/varnish/default.vcl. TLS ends before Varnish.
vcl 4.1;

backend corelane {
    .host = "127.0.0.1";
    .port = "8080";
}

sub vcl_recv {
    # What follows in a pipe is not looked at any more, so nothing but WebSockets goes into one.
    if (req.http.Upgrade ~ "(?i)^websocket$") {
        return (pipe);
    }
    # Answers of Corelane are not for a cache.
    return (pass);
}

sub vcl_pipe {
    set bereq.http.Upgrade = req.http.Upgrade;
    set bereq.http.Connection = "upgrade";
}
