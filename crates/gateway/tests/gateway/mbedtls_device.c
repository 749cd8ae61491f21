/*
 * A device that asks for small records: mbedTLS, TLS 1.2.
 *
 *     mbedtls_device PORT NAME CA CODE
 *
 * Connects to 127.0.0.1:PORT and verifies the certificate for NAME under the CA, a PEM file. CODE
 * is that of max_fragment_length. Sends what it reads first, then writes what it receives.
 */
#include <mbedtls/ctr_drbg.h>
#include <mbedtls/entropy.h>
#include <mbedtls/net_sockets.h>
#include <mbedtls/ssl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static void check(const char *what, int code)
{
	if (code < 0) {
		fprintf(stderr, "mbedtls_device: %s (-0x%x)\n", what, (unsigned)-code);
		exit(1);
	}
}

int main(int argc, char **argv)
{
	mbedtls_net_context socket;
	mbedtls_entropy_context entropy;
	mbedtls_ctr_drbg_context random;
	mbedtls_x509_crt ca;
	mbedtls_ssl_config config;
	mbedtls_ssl_context ssl;
	unsigned char bytes[4096];
	int n;

	check("usage: mbedtls_device PORT NAME CA CODE", argc == 5 ? 0 : -1);
	mbedtls_net_init(&socket);
	mbedtls_entropy_init(&entropy);
	mbedtls_ctr_drbg_init(&random);
	mbedtls_x509_crt_init(&ca);
	mbedtls_ssl_config_init(&config);
	mbedtls_ssl_init(&ssl);
	check("no seed", mbedtls_ctr_drbg_seed(&random, mbedtls_entropy_func, &entropy, NULL, 0));
	check("the CA cannot be read", mbedtls_x509_crt_parse_file(&ca, argv[3]));
	check("no connection",
	      mbedtls_net_connect(&socket, "127.0.0.1", argv[1], MBEDTLS_NET_PROTO_TCP));
	check("no configuration",
	      mbedtls_ssl_config_defaults(&config, MBEDTLS_SSL_IS_CLIENT, MBEDTLS_SSL_TRANSPORT_STREAM,
					  MBEDTLS_SSL_PRESET_DEFAULT));
	mbedtls_ssl_conf_ca_chain(&config, &ca, NULL);
	mbedtls_ssl_conf_rng(&config, mbedtls_ctr_drbg_random, &random);
	check("no such limit",
	      mbedtls_ssl_conf_max_frag_len(&config, (unsigned char)atoi(argv[4])));
	check("no context", mbedtls_ssl_setup(&ssl, &config));
	check("no such name", mbedtls_ssl_set_hostname(&ssl, argv[2]));
	mbedtls_ssl_set_bio(&ssl, &socket, mbedtls_net_send, mbedtls_net_recv, NULL);

	check("the handshake fails", mbedtls_ssl_handshake(&ssl));
	n = (int)read(STDIN_FILENO, bytes, sizeof bytes);
	check("it cannot send", mbedtls_ssl_write(&ssl, bytes, n > 0 ? (size_t)n : 0));
	while ((n = mbedtls_ssl_read(&ssl, bytes, sizeof bytes)) > 0) {
		if (write(STDOUT_FILENO, bytes, (size_t)n) != n)
			return 0;
	}
	check("TLS ended", n);
	return 0;
}
