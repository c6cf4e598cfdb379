import java.util.ArrayList;

/** Fills the heap. */
public class Heap {
    public static void main(String[] arguments) {
        var held = new ArrayList<byte[]>();
        for (;;)
            held.add(new byte[1 << 20]);
    }
}
