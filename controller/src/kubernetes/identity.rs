//! Who is who: the certificate authority of the xDS server, and the tokens of the proxies.
