"""Secrets in the forms people leave them in, and lines that look like them: what the recognisers are developed with.

What stands between ⟪ and ⟫ is a span, a secret where no other kind is named before a |. In it ``%32a`` is 32 drawn
characters: a letters and digits, l small letters and digits, u capitals and digits, h hexadecimal, d digits, b Base64,
w Base64 for URLs.
"""

TEXTS: dict[str, list[str]] = {
    "token": [
        "pushed with ⟪gho_%36a⟫", "gitlab runner ⟪glrt-%20w⟫", "old key ⟪sk-%48a⟫", "slack ⟪xapp-1-A%10u-%13d-%64h⟫", "stripe ⟪sk_test_%24a⟫",
        "key ⟪AIza%35w⟫ for Firebase", "aws ⟪AKIA%16u⟫", "mailgun ⟪key-%32h⟫", "mailchimp ⟪%32h-us12⟫", "square ⟪sq0csp-%43w⟫", "azure ⟪%3a8Q~%34w⟫",
        "doppler ⟪dp.pt.%43a⟫", "terraform ⟪%14a.atlasv1.%64w⟫", "supabase ⟪sbp_%40h⟫", "netlify ⟪nfp_%40a⟫", "airtable ⟪pat%14a.%64h⟫",
        "pulumi ⟪pul-%40h⟫", "rubygems ⟪rubygems_%48h⟫", "langsmith ⟪lsv2_pt_%32h_%10h⟫", "openrouter ⟪sk-or-v1-%64h⟫", "mapbox ⟪sk.eyJ%60w.%22w⟫",
        "easypost ⟪EZAK%54a⟫", "atlas ⟪mdb_sa_sk_%40w⟫", "wandb at ⟪wandb_v1_%40a⟫", "new one ⟪acme_live_%32a⟫", "teams ⟪https://acme.webhook.office.com/webhookb2/%32h/IncomingWebhook/%32h⟫",
    ],
    "key": [
        "⟪-----BEGIN EC PRIVATE KEY-----\n%64b\n%40b==\n-----END EC PRIVATE KEY-----⟫", "⟪-----BEGIN ENCRYPTED PRIVATE KEY-----\n%64b\n%64b\n-----END ENCRYPTED PRIVATE KEY-----⟫",
        "PresharedKey = ⟪%43b=⟫", '"key": "⟪-----BEGIN RSA PRIVATE KEY-----\\n%64b\\n-----END RSA PRIVATE KEY-----⟫"',
    ],
    "name": [
        "MARIADB_PASSWORD=⟪%12a⟫", "RABBIT_PASS: ⟪%10a⟫", "COHERE_KEY='⟪%40a⟫'", "apiSecret: '⟪%30a⟫'", '"passwd": "⟪Birne!%3d⟫"', "$dbpw = '⟪%9a!⟫';",
        '<property name="password" value="⟪%10a⟫"/>', "<secret>⟪%24a⟫</secret>", "Uid=app;Pwd=⟪Lok%6a!⟫;", "SharedSecret=⟪%43b=⟫",
        "private_token: ⟪%20w⟫", "SIGNING_KEY=⟪%44b⟫", "secret_token = '⟪%64h⟫'", "login bot@x password ⟪%12a⟫", '{"id_token": "⟪%60w⟫"}', "GH_TOKEN=⟪%40a⟫",
        "clientsecret=⟪%30w⟫", "FERNET_KEY=⟪%43w=⟫", "--set auth.password=⟪%10a⟫", "user=svc password=⟪%10a⟫ host=db", 'ACCOUNT_KEY="⟪%86b==⟫"', "salt: ⟪%32h⟫",
        'credential: "⟪%20a⟫"', "'pass': '⟪Regal.%4d⟫'", "admin_pwd => ⟪%12a⟫",
    ],
    "header": [
        "Authorization: Bearer ⟪%32a⟫", "authorization: Basic ⟪%20a=⟫", "X-API-KEY: ⟪%24a⟫", "Cookie: JSESSIONID=⟪%32u⟫", "X-Amz-Security-Token: ⟪%80b⟫",
        "Authorization: Token ⟪%40h⟫", "JOB-TOKEN: ⟪%20w⟫", "Set-Cookie: auth=⟪%40w⟫; HttpOnly", "apikey: ⟪%32a⟫", "Authorization: GenieKey ⟪%8h-%4h-%4h-%4h-%12h⟫",
    ],
    "url": [
        "mysql://root:⟪%10a⟫@127.0.0.1/app", "amqps://svc:⟪ab%24cd%6a⟫@mq", "https://⟪%36a⟫@code.example/r.git", "?key=⟪%39w⟫", "&token=⟪%40h⟫&x=1", "rediss://:⟪%24a⟫@c:1/0",
        "?X-Amz-Signature=⟪%64h⟫", "&client_secret=⟪%32w⟫", "smtp://me:⟪Tulpe%3d⟫@mail.example:587",
    ],
    "command": [
        "mysqldump -uroot -p⟪%10a⟫ app", "curl --user me:⟪%10a⟫ http://x", "helm registry login -u a -p ⟪%20a⟫ r.example", "tool --token ⟪%32a⟫", "tool --password '⟪Ente!%3d⟫' run",
        "sshpass -p⟪%8a%2d⟫ scp a b:", "mongosh -u root -p ⟪%12a⟫", "REDISCLI_AUTH=⟪%12a⟫ redis-cli", "tool --secret=⟪%24a⟫", "ldapsearch -D cn=admin -w ⟪%10a%2d⟫",
    ],
    "said": [
        "the password is ⟪Winter#%4d⟫.", "passwort ist ⟪%10a⟫", "mon mot de passe est ⟪Lune%4d!⟫", "mi contraseña: ⟪%10a⟫", "la password: ⟪%9a!⟫", "mijn wachtwoord: ⟪%10a⟫", "Мой пароль ⟪%10a⟫",
        "密码为⟪%9a⟫", "パスワード：⟪%10a⟫", "비밀번호는 ⟪%10a⟫", "hasło: ⟪Kot%4d!⟫", "access code is ⟪%8u⟫", "senha: ⟪Gato%4d!⟫", "use ⟪%10a!⟫ as the password", "log in with admin and ⟪%10a!⟫",
        "user: eva pw: ⟪%9a⟫", "license key ⟪%5u-%5u-%5u-%5u⟫", "token I got: ⟪%40a⟫", "credentials: root:⟪%10a!⟫", "Anmeldung mit admin/⟪%10a!⟫", "Der Schlüssel ist ⟪%32a⟫",
    ],
    "bare": ["AWS creds leaked in the repo: ⟪%24a9⟫", "AWS creds leaked in the repo: ⟪%9a7!x⟫", "see ⟪%36a⟫ below", "⟪%44w⟫", "admin / ⟪%10a!⟫", "saw ⟪%20a⟫ in stdout"],
    "phrase": [
        "recovery phrase: ⟪apple river stone cloud tiger lemon chair dance window pencil garden mouse⟫", "passphrase is ⟪green tree tall house⟫", "Seed words: ⟪ocean tribe fabric label mango noble orange purse rally sand tape unit⟫",
        "ssh passphrase: ⟪winter-coat-blue-train⟫",
    ],
    "weak": ["password=⟪princess⟫", "passwd: '⟪football⟫'", "Password: ⟪123456⟫", "the password is ⟪abc123⟫", "password is \"⟪welcome⟫\"", "contraseña: ⟪hola⟫", "PASS=⟪changeme⟫"],
    "hash": ["eva:⟪$y$j9T$%22a$%43a⟫:1:", "⟪$2y$10$%53a⟫", "⟪$5$%8a$%43a⟫", "⟪pbkdf2_sha256$390000$%22a$%43b=⟫", "⟪{SSHA}%32b⟫"],
    "pin": ["PIN: ⟪%4d⟫", "pin is ⟪%4d⟫", "the CVC is ⟪%3d⟫", "one-time code ⟪%6d⟫", "Geheimzahl ⟪%4d⟫", "código PIN: ⟪%4d⟫", "CVV2: ⟪%3d⟫", "Use ⟪%6d⟫ as your verification code", "TAN ⟪%6d⟫"],
}  # fmt: skip

NOTHING: list[str] = [
    "password: Optional[str] = None", "\"password\": null", "password: ********", "password=xxxxxxxx", "password: {{ vault_password }}", "password=%s", "--password <password>", "password field2 is empty",
    "token=\"$(cat token.txt)\"", "api_key=config.api_key2", "secret: !vault |", "token: ${{ secrets.GITHUB_TOKEN }}", "key=value", "key = lambda x: x[1]", "api_key = 'your-api-key-here'", "API_KEY=xxx", "password: changeme? no",
    "The password is case-sensitive.", "password policy v2 applies", "secret sauce", "keep it secret.", "max_tokens: 4096", "num_tokens=32768", "first token latency 38ms", "pass rate 87.5%", "pass@1 = 0.62", "passed 128 tests",
    "compass=north1234", "bypass: true", "hotkey: ctrl+shift+k", "key_size=2048", "keyid: 0xA1B2", "author: A1", "authority: root2", "pin_memory=True", "opinion: 4321 people", "spin 1/2", "pinned 2024 posts",
    "sha1: da39a3ee5e6b4b0d3255bfef95601890afd80709", "rev 4b825dc642cb6eb9a060e54bf8d69288fbee4904", "f81d4fae-7dec-11d0-a765-00a0c91e6bf6", "sha384-oqVuAfXRKap7fdgcCY5uykM6+R9GqQ8K/uxy9rx7HNQlGYl1kPzQho1wx4JwY8wC",
    "https://drive.google.com/file/d/1aBcD3fGhIjK5mNoPqRsT7vWxYz9012345/view", "https://youtu.be/9bZkp7q19f0", "https://example.org/a/b/c?id=482910&sort=asc", "ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAABAQC7vbqajDhA", "iVBORw0KGgoAAAANSUhEUgAAAAUA",
    "gpt-4o-mini-2024-07-18", "Mistral-7B-Instruct-v0.3.Q4_K_M.gguf", "bert-base-uncased", "ResNet50V2FeatureExtractor", "convertUtf8ToUtf16String2", "TestClientV2HandlesError404", "libcrypto3-3.1.4-r5", "react-dom@18.2.0",
    "mkdir -p src2/main", "python -u train2.py", "cp -p a1 b2", "ssh -p 2222 host", "curl -u user https://x", "nc -w 10 host1 80", "https://user:@host/", "http://host:80/@x", "ftp://ftp.example.org",
    "postal code 80331", "status code: 404", "source code 123456 lines", "area code 415", "error 482913", "PIN entry failed", "verification step 123456", "tan(45) = 1", "tan 4321 hides", "CVC codes have 3 digits",
    "seed=20240101", "recovery phase 2", "the phrase is long and has many words but it is no secret at all", "session=3", "sessions: 12", "cookie banner v2", "salt and pepper", "salt: 5g", "credential manager", "$5 and $10", "$1.2M",
    "Passwort zurücksetzen", "contraseña olvidada", "mot de passe : obligatoire", "пароль должен быть длинным", "密码必须包含8位字符", "パスワードは8文字以上", "hasło jest wymagane", "senha inválida",
    "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789abcdefghijklmnopqrstuvwxyz", "abcdefghijklmnopqrstuvwxyz", "1111111111111111111111111111", "=============================", "AAAAAAAAAAAAAAAAAAAAAA==", "rgba(12,34,56,0.8)", "C20H25N3O", "CCN(CC)CCOC(=O)c1ccc(N)cc1",
    "MVLSPADKTNVKAAWGKVGAHAGEYGAEALERMFLSFPTTKTYFPHF", "e2e4 e7e5 g1f3 b8c6", "basic auth is on", "Basic plan2024subscribers get it", "bearer of bad news2", "Bearer {token}", "access_token expires_in 3600", "token type bearer",
]  # fmt: skip
