#!/usr/bin/env sh
# Deploy hook of acme.sh. Copy it to ~/.acme.sh/deploy/, beside a certward-deploy in /usr/local/bin:
#
#   acme.sh --deploy -d mqtt.example.com --deploy-hook certward
#
# acme.sh remembers the hook and calls it after each renewal. /etc/certward/deploy.conf says which
# deployments use the certificate: see certward-deploy.

# acme.sh passes: domain, key, certificate, CA, full chain.
certward_deploy() {
    (
        PATH=$PATH:/usr/local/bin
        certward-deploy "$1" "$5" "$2"
    )
}
