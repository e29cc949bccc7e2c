/*
 * unix_url - urls of receivers behind a Unix socket.
 *
 *     unix:///run/bot.sock              the socket's path; requests begin at /
 *     http+unix://%2Frun%2Fbot.sock/x   the path as a host, escaped; /x goes before
 */
#ifndef HEARSAY_BASE_UNIX_URL_H
#define HEARSAY_BASE_UNIX_URL_H

/*
 * 1: url is of such a form, *socket_r is the absolute path of its socket and
 * *path_r what goes before the path of a request, "" or "/x" (both to be
 * freed).  0: it is of another form.  -1: it is wrong.
 */
int unix_url_parse(const char *url, char **socket_r, char **path_r);

#endif
