import java.io.IOException;
import java.net.DatagramSocket;
import java.net.InetAddress;
import java.net.ServerSocket;
import java.net.Socket;
import java.nio.file.Files;
import java.nio.file.Path;

/** What confined code must not reach, by the means of Java: one line each. */
public class Doors {
    interface Attempt {
        Object make() throws Exception;
    }

    static void attempt(String name, Attempt attempt) {
        try {
            System.out.println(name + " GOT " + attempt.make());
        } catch (Exception refused) {
            System.out.println(name + " refused");
        }
    }

    static boolean kill(long pid, boolean hard) throws IOException {
        var process = ProcessHandle.of(pid).orElseThrow();
        if (hard ? process.destroyForcibly() : process.destroy())
            return true;
        throw new IOException("refused");
    }

    public static void main(String[] arguments) throws Exception {
        attempt("connect", () -> new Socket(InetAddress.getByAddress(new byte[] {127, 0, 0, 1}), 53));
        attempt("listen", () -> new ServerSocket(0));
        attempt("datagram", () -> new DatagramSocket());
        attempt("name", () -> InetAddress.getByName("example.com"));
        for (String file : new String[] {"environ", "mem", "maps", "root/etc/passwd", "fd/0"})
            attempt(file, () -> Files.newInputStream(Path.of("/proc/1/" + file)).read());
        attempt("write", () -> Files.writeString(Path.of("/var/tmp/java"), "x"));
        attempt("terminate", () -> kill(1, false));
        attempt("kill", () -> kill(1, true));
        var child = new ProcessBuilder("sh", "-c", "exit 7").start();
        System.out.println("control " + child.waitFor());
    }
}
