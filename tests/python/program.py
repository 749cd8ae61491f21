"""Another program: sets a certificate with the generated client, and types it strictly."""

import base64
import os
import sys

from certward_client import AuthenticatedClient
from certward_client.api.deployments import create_deployment, get_deployment
from certward_client.api.tls import check_tls, create_tls, delete_tls, get_tls, replace_tls
from certward_client.models import (
    Code,
    Error,
    NewDeployment,
    Profile,
    TlsCertificate,
    TlsCheck,
    TlsStatus,
    TlsType,
    Upload,
    UploadType,
)
from certward_client.types import Unset


def client_of_the_environment() -> AuthenticatedClient:
    login = f"{os.environ['CERTWARD_API_KEY']}:{os.environ['CERTWARD_SECRET_KEY']}"
    return AuthenticatedClient(
        base_url=os.environ["CERTWARD_URL"],
        prefix="Basic",
        token=base64.b64encode(login.encode()).decode(),
        raise_on_unexpected_status=True,
    )


def upload(certificate: str, key: str) -> Upload:
    with open(certificate, encoding="ascii") as cert, open(key, encoding="ascii") as private:
        return Upload(tls_type=UploadType.ONE_WAY, cert=cert.read(), key=private.read())


def accepted(answer: Error | TlsCertificate | None) -> TlsCertificate:
    if isinstance(answer, TlsCertificate):
        return answer
    raise SystemExit(f"refused: {answer}")


def refused(answer: object) -> Error:
    if isinstance(answer, Error):
        return answer
    raise SystemExit(f"not refused: {answer}")


def main(upstream: str, certificate: str, key: str, other_key: str) -> None:
    client = client_of_the_environment()
    new = NewDeployment(
        upstream=upstream, deployment_id="typed", hosts=["typed.example.com"], profile=Profile.DEFAULT
    )
    created = create_deployment.sync(client=client, body=new)
    assert created is not None and not isinstance(created, Error), created
    assert created.deployment_id == "typed" and created.profile is Profile.DEFAULT
    exists = refused(create_deployment.sync(client=client, body=new))
    assert exists.code is Code.DEPLOYMENT_EXISTS, exists

    empty = accepted(get_tls.sync("typed", client=client))
    assert isinstance(empty.status, Unset) and isinstance(empty.tls_type, Unset)
    missing = refused(replace_tls.sync("typed", client=client, body=upload(certificate, key)))
    assert missing.code is Code.TLS_NOT_FOUND, missing

    mixed = upload(certificate, other_key)
    checked = check_tls.sync("typed", client=client, body=mixed)
    assert isinstance(checked, TlsCheck) and not checked.accepted
    mismatch = refused(create_tls.sync("typed", client=client, body=mixed))
    assert mismatch.code is Code.KEY_MISMATCH and mismatch.details[0].field == "key", mismatch

    accepted(create_tls.sync("typed", client=client, body=upload(certificate, key)))
    running = accepted(get_tls.sync("typed", client=client, prefer="wait=30"))
    assert running.status is TlsStatus.RUNNING and running.tls_type is TlsType.ONE_WAY, running
    replaced = accepted(replace_tls.sync("typed", client=client, body=upload(certificate, key)))
    assert replaced.status in (TlsStatus.PENDING, TlsStatus.RUNNING), replaced

    shown = get_deployment.sync("typed", client=client)
    assert shown is not None and not isinstance(shown, Error) and not isinstance(shown.tls, Unset)
    assert delete_tls.sync_detailed("typed", client=client).status_code == 204
    print("done")


if __name__ == "__main__":
    main(*sys.argv[1:])
