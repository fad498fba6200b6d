#!/usr/bin/env python3
"""Makes chains.pem with openssl: the certificates of the table in main.rs. Run it here; it needs openssl 3 and no arguments.

The keys are thrown away. Each certificate stands under a line `# name`. Everything is valid from 2026 to 2036 unless a row says otherwise;
the clock of the tests stands in January 2027.
"""

import pathlib
import subprocess
import tempfile

CA = "basicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign,cRLSign\nsubjectKeyIdentifier=hash\n"
LEAF = "basicConstraints=CA:FALSE\nkeyUsage=digitalSignature\nauthorityKeyIdentifier=keyid\n"
CONFIG = """
[ca_none]
database = index.txt
rand_serial = yes
new_certs_dir = .
policy = any
unique_subject = no
email_in_dn = yes
preserve = yes
default_md = sha256
[any]
organizationName = optional
commonName = optional
emailAddress = optional
[req]
distinguished_name = dn
string_mask = utf8only
[dn]
"""
START, END = "20260101000000Z", "20360101000000Z"
PAST, FUTURE = "20270101000000Z", "20280101000000Z"

home = pathlib.Path(__file__).parent
made = {}


def openssl(folder, *arguments):
    run = subprocess.run(["openssl", *arguments], cwd=folder, capture_output=True, text=True)
    if run.returncode:
        raise SystemExit(f"openssl {' '.join(arguments)}\n{run.stderr}")
    return run.stdout


class Maker:
    def __init__(self, folder):
        self.folder = folder
        (folder / "index.txt").touch()
        (folder / "ca.cnf").write_text(CONFIG)

    def key(self, name, kind):
        options = {
            "p256": ["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"],
            "p384": ["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-384"],
            "p521": ["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-521"],
            "k256": ["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:secp256k1"],
            "ed25519": ["-algorithm", "ED25519"],
            "rsa1024": ["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:1024"],
            "rsa2048": ["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"],
            "rsa3072": ["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:3072"],
        }[kind]
        openssl(self.folder, "genpkey", *options, "-out", f"{name}.key")

    def make(self, name, subject, issuer=None, ext=CA, key="p256", md="sha256", sigopt=(), start=START, end=END, key_of=None):
        """A certificate; without an issuer it signs itself. `key_of` takes the key of another, `ext=None` makes version 1."""
        if key_of:
            (self.folder / f"{name}.key").write_text((self.folder / f"{key_of}.key").read_text())
        else:
            self.key(name, key)
        openssl(self.folder, "req", "-new", "-config", "ca.cnf", "-key", f"{name}.key", "-subj", subject, "-out", f"{name}.csr")
        command = ["ca", "-batch", "-notext", "-config", "ca.cnf", "-name", "ca_none", "-in", f"{name}.csr", "-out", f"{name}.pem"]
        command += ["-startdate", start, "-enddate", end, "-md", "default" if key_kind(self.folder, issuer or name) == "ed25519" else md]
        if issuer:
            command += ["-cert", f"{issuer}.pem", "-keyfile", f"{issuer}.key"]
        else:
            command += ["-selfsign", "-keyfile", f"{name}.key"]
        if ext is not None:
            (self.folder / "ext.cnf").write_text("[v3]\n" + ext)
            command += ["-extfile", "ext.cnf", "-extensions", "v3"]
        for option in sigopt:
            command += ["-sigopt", option]
        openssl(self.folder, *command)
        made[name] = (self.folder / f"{name}.pem").read_text()

    def leaf(self, name, issuer, subject="/CN=dev1", ext=LEAF, **more):
        self.make(name, subject, issuer, ext=ext, **more)


def key_kind(folder, name):
    text = openssl(folder, "pkey", "-in", f"{name}.key", "-noout", "-text")
    return "ed25519" if text.startswith("ED25519") else "other"


def make_all(m):
    m.make("root", "/O=Contoso/CN=root")
    m.make("int", "/O=Contoso/CN=int", "root")
    m.make("int2", "/O=Contoso/CN=int2", "int")
    m.make("stranger", "/O=Contoso/CN=stranger")
    m.make("namesake", "/O=Contoso/CN=root")
    m.make("namesake_int", "/O=Contoso/CN=int", "root")
    m.leaf("leaf", "root")
    m.leaf("leaf_int", "int")
    m.leaf("leaf_int2", "int2")
    m.leaf("leaf_stranger", "stranger")
    m.make("leaf_alone", "/CN=dev1", ext=LEAF)
    m.leaf("leaf_namesake", "namesake")
    # Algorithms.
    for kind, mds in {"rsa2048": ["sha256", "sha384", "sha512"], "rsa3072": ["sha256"], "p384": ["sha384", "sha256"],
                      "p521": ["sha512", "sha384"], "ed25519": ["sha256"], "p256": ["sha384", "sha512"]}.items():
        m.make(f"root_{kind}", f"/CN=root {kind}", key=kind)
        for md in mds:
            m.leaf(f"leaf_{kind}_{md}", f"root_{kind}", md=md)
    pss = ["rsa_padding_mode:pss", "rsa_pss_saltlen:-1"]
    m.leaf("leaf_pss_sha256", "root_rsa2048", sigopt=pss)
    m.leaf("leaf_pss_sha384", "root_rsa2048", md="sha384", sigopt=pss)
    m.leaf("leaf_pss_sha512", "root_rsa3072", md="sha512", sigopt=pss)
    m.leaf("leaf_pss_salt", "root_rsa2048", sigopt=["rsa_padding_mode:pss", "rsa_pss_saltlen:20"])
    m.leaf("leaf_pss_sha1", "root_rsa2048", md="sha1", sigopt=pss)
    m.leaf("leaf_rsa_of_ec", "root", key="rsa2048")
    m.leaf("leaf_sha1", "root_rsa2048", md="sha1")
    m.leaf("leaf_md5", "root_rsa2048", md="md5")
    m.leaf("leaf_ec_sha1", "root", md="sha1")
    m.make("int_sha1", "/CN=int sha1", "root_rsa2048", md="sha1")
    m.leaf("leaf_int_sha1", "int_sha1")
    m.make("int_rsa1024", "/CN=int rsa1024", "root", key="rsa1024")
    m.leaf("leaf_int_rsa1024", "int_rsa1024")
    m.make("int_k256", "/CN=int k256", "root", key="k256")
    m.leaf("leaf_int_k256", "int_k256")
    m.make("root_sha1", "/CN=root sha1", key="rsa2048", md="sha1")
    m.leaf("leaf_root_sha1", "root_sha1")
    # Validity.
    m.make("root_future", "/CN=root future", start=FUTURE)
    m.leaf("leaf_root_future", "root_future")
    m.make("int_past", "/CN=int past", "root", end=PAST)
    m.leaf("leaf_int_past", "int_past")
    m.make("int_future", "/CN=int future", "root", start=FUTURE)
    m.leaf("leaf_int_future", "int_future")
    m.leaf("leaf_past", "root", end=PAST)
    m.leaf("leaf_future", "root", start=FUTURE)
    m.leaf("leaf_last_second", "root", end="20270115080000Z")
    m.leaf("leaf_first_second", "root", start="20270115080000Z")
    # Authorities that are none.
    m.make("int_plain", "/CN=int plain", "root", ext="subjectKeyIdentifier=hash\n")
    m.leaf("leaf_int_plain", "int_plain")
    m.make("int_false", "/CN=int false", "root", ext="basicConstraints=critical,CA:FALSE\nkeyUsage=keyCertSign\n")
    m.leaf("leaf_int_false", "int_false")
    m.make("int_v1", "/CN=int v1", "root", ext=None)
    m.leaf("leaf_int_v1", "int_v1", ext="basicConstraints=CA:FALSE\n")
    m.make("int_usage", "/CN=int usage", "root", ext="basicConstraints=critical,CA:TRUE\nkeyUsage=digitalSignature,cRLSign\n")
    m.leaf("leaf_int_usage", "int_usage", ext="basicConstraints=CA:FALSE\n")
    m.leaf("leaf_of_leaf", "leaf", ext="basicConstraints=CA:FALSE\n")
    m.make("int_no_usage", "/CN=int no usage", "root", ext="basicConstraints=CA:TRUE\n")
    m.leaf("leaf_int_no_usage", "int_no_usage", ext="basicConstraints=CA:FALSE\n")
    # Path lengths.
    limited = CA.replace("CA:TRUE", "CA:TRUE,pathlen:0")
    m.make("root_0", "/CN=root 0", ext=limited)
    m.leaf("leaf_root_0", "root_0")
    m.make("int_root_0", "/CN=int root 0", "root_0")
    m.leaf("leaf_int_root_0", "int_root_0")
    m.make("root_0_again", "/CN=root 0", "root_0")
    m.leaf("leaf_root_0_again", "root_0_again")
    m.make("int_0", "/CN=int 0", "root", ext=limited)
    m.leaf("leaf_int_0", "int_0")
    m.make("below_int_0", "/CN=below int 0", "int_0")
    m.leaf("leaf_below_int_0", "below_int_0")
    m.make("root_1", "/CN=root 1", ext=CA.replace("CA:TRUE", "CA:TRUE,pathlen:1"))
    m.make("int_root_1", "/CN=int root 1", "root_1")
    m.leaf("leaf_int_root_1", "int_root_1")
    # Names.
    for name, constraints in {
        "dir": "permitted;dirName:contoso", "no_dir": "excluded;dirName:contoso", "dns": "permitted;DNS:example.test",
        "no_dns": "excluded;DNS:example.test", "ip": "permitted;IP:10.0.0.0/255.0.0.0", "email": "permitted;email:example.test",
        "uri": "permitted;URI:.example.test", "other": "permitted;otherName:1.2.3.4;UTF8:x",
    }.items():
        ext = CA + f"nameConstraints=critical,{constraints}\n[contoso]\nO=Contoso\n"
        m.make(f"root_{name}", f"/O=Contoso/CN=root {name}", ext=ext)
    m.leaf("leaf_dir", "root_dir", "/O=contoso/CN=dev1")
    m.leaf("leaf_dir_outside", "root_dir", "/O=Fabrikam/CN=dev1")
    m.leaf("leaf_no_dir", "root_no_dir", "/O=Fabrikam/CN=dev1")
    m.leaf("leaf_no_dir_inside", "root_no_dir", "/O=Contoso/CN=dev1")
    m.leaf("leaf_dns", "root_dns", ext=LEAF + "subjectAltName=DNS:a.Example.test\n")
    m.leaf("leaf_dns_none", "root_dns")
    m.leaf("leaf_dns_outside", "root_dns", ext=LEAF + "subjectAltName=DNS:a.example.test,DNS:badexample.test\n")
    m.leaf("leaf_no_dns_inside", "root_no_dns", ext=LEAF + "subjectAltName=DNS:a.example.test\n")
    m.leaf("leaf_ip", "root_ip", ext=LEAF + "subjectAltName=IP:10.1.2.3\n")
    m.leaf("leaf_ip_outside", "root_ip", ext=LEAF + "subjectAltName=IP:11.1.2.3\n")
    m.leaf("leaf_email_outside", "root_email", ext=LEAF + "subjectAltName=email:a@example.org\n")
    m.leaf("leaf_email_subject", "root_email", "/CN=dev1/emailAddress=a@example.org")
    m.leaf("leaf_uri", "root_uri", ext=LEAF + "subjectAltName=URI:https://a.example.test/x\n")
    m.leaf("leaf_uri_outside", "root_uri", ext=LEAF + "subjectAltName=URI:https://example.org/\n")
    m.leaf("leaf_uri_hostless", "root_uri", ext=LEAF + "subjectAltName=URI:urn:x\n")
    m.leaf("leaf_other", "root_other", ext=LEAF + "subjectAltName=otherName:1.2.3.4;UTF8:x\n")
    m.make("int_dir", "/O=Contoso/CN=int dir", "root", ext=CA + "nameConstraints=critical,permitted;dirName:c\n[c]\nO=Contoso\n")
    m.leaf("leaf_int_dir_outside", "int_dir", "/CN=dev1")
    # Extensions.
    m.leaf("leaf_critical", "root", ext=LEAF + "1.2.3.4.5=critical,ASN1:NULL\n")
    m.leaf("leaf_unknown", "root", ext=LEAF + "1.2.3.4.5=ASN1:NULL\n")
    m.make("int_critical", "/CN=int critical", "root", ext=CA + "1.2.3.4.5=critical,ASN1:NULL\n")
    m.leaf("leaf_int_critical", "int_critical")
    m.leaf("leaf_server_usage", "root", ext=LEAF + "extendedKeyUsage=critical,serverAuth\n")
    m.leaf("leaf_policies", "root", ext=LEAF + "certificatePolicies=critical,1.2.3.4\n")
    m.leaf("leaf_v1", "root", ext=None)
    m.leaf("leaf_bare", "root", ext="subjectAltName=DNS:other.example.test\n")
    m.leaf("leaf_is_ca", "root", ext=CA)
    # Common names.
    m.leaf("leaf_case", "root", "/CN=Dev1")
    m.leaf("leaf_longer", "root", "/CN=dev12")
    m.leaf("leaf_nameless", "root", "/O=dev1")
    m.leaf("leaf_twice", "root", "/CN=dev1/CN=dev1")
    m.leaf("leaf_alternative", "root", "/CN=other", ext=LEAF + "subjectAltName=DNS:dev1\n")
    m.leaf("leaf_module", "root", r"/CN=dev1\/mod1")
    # Depth: c1 below the root .. c9; leaf_c8 is the tenth certificate of its path.
    above = "root"
    for number in range(1, 10):
        m.make(f"c{number}", f"/CN=c{number}", above)
        above = f"c{number}"
    m.leaf("leaf_c8", "c8")
    m.leaf("leaf_c9", "c9")
    # Two that certify each other, and a CA under two roots.
    m.make("ring_a", "/CN=ring a")
    m.make("ring_b", "/CN=ring b", "ring_a")
    m.make("ring_a_of_b", "/CN=ring a", "ring_b", key_of="ring_a")
    m.leaf("leaf_ring", "ring_a")
    m.make("cross_of_stranger", "/CN=cross", "stranger")
    m.make("cross_of_root", "/CN=cross", "root", key_of="cross_of_stranger")
    m.leaf("leaf_cross", "cross_of_root")
    # Many of one name, which certify each other with one key: every order of them is a path.
    m.make("many0", "/CN=many")
    for number in range(1, 9):
        m.make(f"many{number}", "/CN=many", "many0", key_of="many0")
    m.leaf("leaf_many", "many0")


with tempfile.TemporaryDirectory() as folder:
    make_all(Maker(pathlib.Path(folder)))
(home / "chains.pem").write_text("".join(f"# {name}\n{pem}" for name, pem in made.items()))
print(f"{len(made)} certificates")
