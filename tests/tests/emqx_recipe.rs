//! The public EMQX recipe, from openssl to the device.

use certward_tests::{Device, Leaf, Scene, recipe};
use serde_json::json;

fn der(pem: &str, key_pem: &str) -> Vec<u8> {
    Leaf::from_pem(pem, key_pem).der
}

#[test]
fn the_recipe_is_accepted_as_it_is_with_the_root_included() {
    let scene = Scene::new();
    let folder = tempfile::tempdir().unwrap();
    let recipe = recipe::make(folder.path());
    let (api, id) = (scene.api(), Scene::DEPLOYMENT);

    // The FAQ's order: leaf, then CA.
    let chain = format!("{}{}", recipe.server.chain_pem, recipe.ca_pem);
    let upload = json!({"tlsType": "one-way", "cert": chain, "key": recipe.server.key_pem});
    api.post_tls(id, &upload).expect(200);
    api.wait_running(id);

    let root = der(&recipe.ca_pem, &recipe.server.key_pem);
    for device in [Device::trusting_der(&root).with_tls12(), Device::trusting_der(&root).with_tls13()] {
        let session = scene.connect(&device, "one-way").unwrap();
        assert_eq!(session.leaf(), recipe.server.der);
        assert_eq!(session.chain_length(), 1, "the root is left out");
    }

    let upload = json!({
        "tlsType": "two-way", "cert": chain, "key": recipe.server.key_pem, "cacert": recipe.client_ca_pem,
    });
    api.put_tls(id, &upload).expect(200);
    api.wait_running(id);
    for device in [Device::trusting_der(&root).with_tls12(), Device::trusting_der(&root).with_tls13()] {
        scene.connect(&device, "without").expect_err("two-way, and no certificate");
        let device = device.with_identity(&recipe.client);
        scene.connect(&device, "with").unwrap().ping().unwrap();
    }
}

#[test]
fn authorities_of_the_same_subject_are_never_confused() {
    let scene = Scene::new();
    let folder = tempfile::tempdir().unwrap();
    let recipe = recipe::make(folder.path());
    let (api, id) = (scene.api(), Scene::DEPLOYMENT);
    let root = der(&recipe.ca_pem, &recipe.server.key_pem);
    let device = || Device::trusting_der(&root).with_identity(&recipe.client);

    // The server's CA as client CA: the right name, the wrong key.
    let upload = |cacert: &str| {
        json!({
            "tlsType": "two-way", "cert": recipe.server.chain_pem, "key": recipe.server.key_pem, "cacert": cacert,
        })
    };
    api.post_tls(id, &upload(&recipe.ca_pem)).expect(200);
    api.wait_running(id);
    scene.connect(&device(), "wrong-ca").expect_err("signed by another key of the same name");

    // In any order: the right one is found by its key.
    for cacert in [
        format!("{}{}", recipe.ca_pem, recipe.client_ca_pem),
        format!("{}{}", recipe.client_ca_pem, recipe.ca_pem),
    ] {
        api.put_tls(id, &upload(&cacert)).expect(200);
        api.wait_running(id);
        scene.connect(&device(), "right-ca").unwrap().ping().unwrap();
    }

    // The client CA in the server's chain: the issuer's name, not the issuer.
    let chain = format!("{}{}", recipe.server.chain_pem, recipe.client_ca_pem);
    let upload = json!({"tlsType": "one-way", "cert": chain, "key": recipe.server.key_pem});
    let answer = api.put_tls(id, &upload);
    if answer.status == 200 {
        api.wait_running(id);
        let session = scene.connect(&Device::trusting_der(&root), "one-way").unwrap();
        assert_eq!(session.chain_length(), 1, "what did not sign the leaf is not served");
    } else {
        answer.expect(422);
    }
}
