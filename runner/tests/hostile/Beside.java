import java.nio.ByteBuffer;
import java.util.ArrayList;

/** Takes memory beside the heap as far as the runtime lets it, then fills the heap. */
public class Beside {
    public static void main(String[] arguments) {
        var held = new ArrayList<Object>();
        try {
            for (;;)
                held.add(ByteBuffer.allocateDirect(8 << 20));
        } catch (OutOfMemoryError enough) {
            System.out.println("beside: " + held.size());
        }
        for (;;)
            held.add(new byte[1 << 20]);
    }
}
