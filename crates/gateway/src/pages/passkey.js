"use strict";
// Asks the browser for a passkey, to be made or used, and sends what it says in a form of the page.
(() => {
  const form = document.getElementById("passkey");
  const said = document.getElementById("passkey-said");
  if (!form || !said) return;
  if (!window.PublicKeyCredential) {
    said.textContent = "This browser has no passkeys.";
    return;
  }
  const bytes = (text) => Uint8Array.from(atob(text.replace(/-/g, "+").replace(/_/g, "/")), (c) => c.charCodeAt(0));
  const text = (buffer) =>
    btoa(String.fromCharCode(...new Uint8Array(buffer))).replace(/\+/g, "-").replace(/\//g, "_").replace(/=+$/, "");
  const data = form.dataset;
  const known = (data.credentials || "").split(" ").filter(Boolean).map((id) => ({ type: "public-key", id: bytes(id) }));
  const make = () =>
    navigator.credentials.create({
      publicKey: {
        challenge: bytes(data.challenge),
        rp: { id: data.party, name: data.partyName },
        user: { id: bytes(data.user), name: data.account, displayName: data.account },
        pubKeyCredParams: data.algorithms.split(" ").map((alg) => ({ type: "public-key", alg: Number(alg) })),
        authenticatorSelection: { userVerification: "required", residentKey: "preferred" },
        attestation: "none",
        excludeCredentials: known,
        timeout: 120000,
      },
    });
  const use = () =>
    navigator.credentials.get({
      publicKey: {
        challenge: bytes(data.challenge),
        rpId: data.party,
        allowCredentials: known,
        userVerification: "required",
        timeout: 120000,
      },
    });
  const fill = (name, buffer) => {
    if (buffer) form.elements.namedItem(name).value = text(buffer);
  };
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    said.textContent = "";
    try {
      const credential = await (data.make ? make() : use());
      const response = credential.response;
      fill("credential", credential.rawId);
      fill("client_data", response.clientDataJSON);
      fill(data.make ? "attestation" : "authenticator_data", data.make ? response.attestationObject : response.authenticatorData);
      fill(data.make ? "unused" : "signature", response.signature);
      form.submit();
    } catch (error) {
      said.textContent = "The passkey was not used: " + error.name + ".";
    }
  });
})();
