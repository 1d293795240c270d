# ClickHouse's own server out of libchdb, with the files that docker-compose.yml mounts into ClickHouse's image, until it is
# killed: `clickhouse.py LIBRARY FOLDER PORT USERS SERVER [--as-it-is]`. What the image has of its own (a user `default`, a profile and a
# quota of that name) is written here; `config.d` and `users.d` are merged by the engine as in the image.
import ctypes, os, shutil, sys, threading

library, folder, port, users, server, *more = sys.argv[1:]
for name in ("config.d", "users.d", "data"):
    os.makedirs(f"{folder}/{name}", exist_ok=True)
shutil.copy(users, f"{folder}/users.d/weir.xml")
shutil.copy(server, f"{folder}/config.d/weir.xml")
with open(f"{folder}/users.xml", "w") as file:
    file.write("""<clickhouse><profiles><default/></profiles><quotas><default/></quotas><users><default><password></password>
      <networks><ip>::1</ip><ip>127.0.0.1</ip></networks><profile>default</profile><quota>default</quota></default></users></clickhouse>""")
with open(f"{folder}/config.xml", "w") as file:
    file.write(f"""<clickhouse><logger><level>warning</level><console>1</console></logger><listen_host>127.0.0.1</listen_host>
      <user_directories><users_xml><path>{folder}/users.xml</path></users_xml></user_directories></clickhouse>""")
# The statement below is that of the user `default`, which the mounted file removes: without `--as-it-is` it is put back.
if "--as-it-is" not in more:
    with open(f"{folder}/users.d/zz.xml", "w") as file:
        file.write("""<clickhouse><users><default><password></password><networks><ip>127.0.0.1</ip></networks><profile>default</profile><quota>default</quota>
          <grants><query>GRANT ALL ON *.*</query></grants></default></users></clickhouse>""")
os.mkfifo(f"{folder}/hold")


def hold():
    with open(f"{folder}/hold", "w"):
        threading.Event().wait()


threading.Thread(target=hold, daemon=True).start()
with open(f"{folder}/open.sql", "w") as file:
    file.write("SYSTEM START LISTEN HTTP")
words = ["clickhouse", f"--path={folder}/data", f"--config-file={folder}/config.xml", f"--http_port={port}", "--tcp_port=0",
         "--queries-file", f"{folder}/open.sql", f"{folder}/hold"]
ctypes.CDLL(library).chdb_query_cmdline(len(words), (ctypes.c_char_p * len(words))(*[word.encode() for word in words]))
