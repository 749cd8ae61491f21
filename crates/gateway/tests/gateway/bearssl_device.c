/*
 * A device with a small TLS buffer: BearSSL, TLS 1.2, one buffer for both directions.
 *
 *     bearssl_device PORT NAME CA RECORD
 *
 * Connects to 127.0.0.1:PORT and verifies the certificate for NAME under the CA, a DER file. The
 * buffer holds records of RECORD bytes of plaintext. Sends what it reads first, then writes what
 * it receives.
 */
#include <arpa/inet.h>
#include <bearssl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* What a record of the peer may add to its plaintext, as BearSSL counts it. */
#define OVERHEAD (BR_SSL_BUFSIZE_INPUT - 16384)

static unsigned char buffer[BR_SSL_BUFSIZE_MONO];
static unsigned char subject[1024];
static size_t subject_len;

static void fail(const char *what, int code)
{
	fprintf(stderr, "bearssl_device: %s (%d)\n", what, code);
	exit(1);
}

static int receive(void *fd, unsigned char *bytes, size_t len)
{
	ssize_t n = read(*(int *)fd, bytes, len);
	return n > 0 ? (int)n : -1;
}

static int transmit(void *fd, const unsigned char *bytes, size_t len)
{
	ssize_t n = write(*(int *)fd, bytes, len);
	return n > 0 ? (int)n : -1;
}

static void keep_subject(void *unused, const void *bytes, size_t len)
{
	(void)unused;
	if (len > sizeof subject - subject_len)
		fail("the subject of the CA is too long", (int)len);
	memcpy(subject + subject_len, bytes, len);
	subject_len += len;
}

/* The CA as a trust anchor. The decoder holds the key, and lives as long. */
static br_x509_trust_anchor trust_anchor(const char *file, br_x509_decoder_context *decoder)
{
	unsigned char der[4096];
	FILE *in = fopen(file, "rb");
	size_t len = in ? fread(der, 1, sizeof der, in) : 0;
	br_x509_trust_anchor anchor = { .flags = BR_X509_TA_CA };
	br_x509_pkey *key;

	br_x509_decoder_init(decoder, keep_subject, NULL);
	br_x509_decoder_push(decoder, der, len);
	key = br_x509_decoder_get_pkey(decoder);
	if (key == NULL)
		fail("the CA cannot be read", br_x509_decoder_last_error(decoder));
	anchor.dn.data = subject;
	anchor.dn.len = subject_len;
	anchor.pkey = *key;
	return anchor;
}

static int connected(int port)
{
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons((unsigned short)port) };
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	if (connect(fd, (struct sockaddr *)&to, sizeof to) != 0)
		fail("no connection", port);
	return fd;
}

int main(int argc, char **argv)
{
	static br_ssl_client_context client;
	static br_x509_minimal_context verifier;
	static br_x509_decoder_context decoder;
	br_x509_trust_anchor anchor;
	br_sslio_context io;
	unsigned char bytes[4096];
	ssize_t first;
	int fd, n;

	if (argc != 5)
		fail("usage: bearssl_device PORT NAME CA RECORD", argc);
	anchor = trust_anchor(argv[3], &decoder);
	fd = connected(atoi(argv[1]));
	br_ssl_client_init_full(&client, &verifier, &anchor, 1);
	br_ssl_engine_set_buffer(&client.eng, buffer, (size_t)atoi(argv[4]) + OVERHEAD, 0);
	br_ssl_client_reset(&client, argv[2], 0);
	br_sslio_init(&io, &client.eng, receive, &fd, transmit, &fd);

	first = read(STDIN_FILENO, bytes, sizeof bytes);
	if (first > 0 && br_sslio_write_all(&io, bytes, (size_t)first) == 0)
		br_sslio_flush(&io);
	while ((n = br_sslio_read(&io, bytes, sizeof bytes)) > 0) {
		if (write(STDOUT_FILENO, bytes, (size_t)n) != n)
			return 0;
	}
	fail("TLS ended", br_ssl_engine_last_error(&client.eng));
}
